package fakeslack

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// perMinute is how often a method may be called for one channel.
var perMinute = map[string]int{"chat.postMessage": 60, "chat.update": 50, "views.open": 100, "views.update": 100, "chat.postEphemeral": 100}

// paceOf is a second on the way: two calls that leave so far apart arrive with less between them.
const paceOf = 900 * time.Millisecond

// What comes of what users do is no fault of the app's.
const (
	closed  = "not_found: the user has closed it"
	deleted = "message_not_found: a user has deleted it"
)

// call is one call of the Web API, whichever way its arguments came.
type call struct {
	method string
	args   map[string]json.RawMessage
	token  string
}

func (c call) text(key string) string {
	var s string
	if json.Unmarshal(c.args[key], &s) != nil {
		return ""
	}
	return s
}

func readCall(r *http.Request) (call, error) {
	c := call{method: r.PathValue("method"), args: map[string]json.RawMessage{}, token: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		body, err := io.ReadAll(r.Body)
		if err == nil && len(body) > 0 {
			err = json.Unmarshal(body, &c.args)
		}
		return c, err
	}
	if err := r.ParseForm(); err != nil {
		return c, err
	}
	for k := range r.PostForm {
		v := r.PostForm.Get(k)
		if k == "blocks" || k == "view" || k == "metadata" {
			c.args[k] = json.RawMessage(v)
			continue
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return c, err
		}
		c.args[k] = raw
	}
	if c.token == "" {
		c.token = c.text("token")
	}
	return c, nil
}

func (s *Slack) api(w http.ResponseWriter, r *http.Request) {
	c, err := readCall(r)
	if err != nil {
		s.fault("%s: %v", c.method, err)
	}
	if s.turnedAway(w, c) {
		return
	}
	want := BotToken
	if c.method == "apps.connections.open" {
		want = AppToken
	}
	if c.token != want {
		answer(w, map[string]any{"ok": false, "error": "invalid_auth"})
		return
	}
	methods := map[string]func(call) (map[string]any, string){
		"auth.test": func(call) (map[string]any, string) {
			return map[string]any{"team_id": Team, "user_id": "U0BOT", "bot_id": "B0BOT", "url": s.url()}, ""
		},
		"apps.connections.open": func(call) (map[string]any, string) { return map[string]any{"url": s.openSocket()}, "" },
		"chat.postMessage":      s.post, "chat.update": s.update, "views.open": s.openView, "views.update": s.updateView,
		"chat.postEphemeral": s.whisper,
	}
	do, ok := methods[c.method]
	if !ok {
		s.fault("no method %s", c.method)
		answer(w, map[string]any{"ok": false, "error": "unknown_method"})
		return
	}
	out, problem := do(c)
	if problem != "" {
		if problem != closed && problem != deleted {
			s.fault("%s: %s", c.method, problem)
		}
		code, _, _ := strings.Cut(problem, ":")
		answer(w, map[string]any{"ok": false, "error": code})
		return
	}
	out["ok"] = true
	answer(w, out)
}

// turnedAway answers for a Slack that is down, or asks to come back later.
func (s *Slack) turnedAway(w http.ResponseWriter, c call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return true
	}
	wait := time.Duration(0)
	if s.limits[c.method] > 0 {
		s.limits[c.method]--
		wait = time.Second
	}
	if last, now := s.paced[c.text("channel")], time.Now(); s.paced != nil && c.method == "chat.postMessage" && wait == 0 {
		if now.Sub(last) < paceOf {
			wait = time.Second / 2 // Retry-After is told in whole seconds, and rounded up
		} else {
			s.paced[c.text("channel")] = now
		}
	}
	if most := perMinute[c.method]; most > 0 && wait == 0 {
		key, now := c.method+" "+c.text("channel"), time.Now()
		recent := s.calls[key]
		for len(recent) > 0 && now.Sub(recent[0]) > time.Minute {
			recent = recent[1:]
		}
		if len(recent) >= most {
			wait = time.Minute - now.Sub(recent[0])
		} else {
			recent = append(recent, now)
		}
		s.calls[key] = recent
	}
	if wait > 0 {
		s.refused[c.method]++
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds()+1)))
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	s.counted[c.method]++
	return false
}

func answer(w http.ResponseWriter, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that is gone reads nothing
}

// content is what a message says.
func content(c call) (text string, blocks []Block, problem string) {
	text = c.text("text")
	if utf8.RuneCountInString(text) > maxText {
		return "", nil, fmt.Sprintf("msg_too_long: text of %d characters, at most %d", utf8.RuneCountInString(text), maxText)
	}
	if raw := c.args["blocks"]; len(raw) > 0 {
		var faults []string
		if blocks, faults = readBlocks(raw, false); len(faults) > 0 {
			return "", nil, "invalid_blocks: " + strings.Join(faults, "; ")
		}
	}
	if text == "" {
		return "", nil, "no_text: a message needs a text, for notifications and screen readers"
	}
	return text, blocks, ""
}

func (s *Slack) post(c call) (map[string]any, string) {
	text, blocks, problem := content(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := Message{Channel: c.text("channel"), Thread: c.text("thread_ts"), Text: text, Blocks: blocks}
	switch {
	case problem != "":
		return nil, problem
	case m.Channel == "":
		return nil, "channel_not_found"
	case m.Thread != "" && s.find(m.Channel, m.Thread) == nil:
		return nil, "thread_not_found: " + m.Thread
	}
	m.TS = fmt.Sprintf("1700000000.%06d", s.next())
	s.messages = append(s.messages, m)
	return map[string]any{"channel": m.Channel, "ts": m.TS}, ""
}

func (s *Slack) update(c call) (map[string]any, string) {
	text, blocks, problem := content(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.find(c.text("channel"), c.text("ts"))
	switch {
	case problem != "":
		return nil, problem
	case m == nil:
		return nil, "message_not_found"
	case m.deleted:
		return nil, deleted
	}
	m.Text, m.Blocks = text, blocks
	m.Edits++
	return map[string]any{"channel": m.Channel, "ts": m.TS, "text": text}, ""
}

// whisper is a message that only one user of a channel sees.
func (s *Slack) whisper(c call) (map[string]any, string) {
	text, blocks, problem := content(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case problem != "":
		return nil, problem
	case c.text("channel") == "":
		return nil, "channel_not_found"
	case c.text("user") == "":
		return nil, "user_not_in_channel"
	}
	s.told = append(s.told, Told{User: c.text("user"), Text: text, Blocks: blocks})
	return map[string]any{"message_ts": fmt.Sprintf("1700000000.%06d", s.next())}, ""
}

// find a message; the caller holds mu.
func (s *Slack) find(channel, ts string) *Message {
	for i := range s.messages {
		if m := &s.messages[i]; m.Channel == channel && m.TS == ts {
			return m
		}
	}
	return nil
}

// respond is a response URL: five messages for the user who did something.
func (s *Slack) respond(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Text            string          `json:"text"`
		ResponseType    string          `json:"response_type"`
		ReplaceOriginal bool            `json:"replace_original"`
		Blocks          json.RawMessage `json:"blocks"`
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hooks[r.PathValue("id")]
	wrong := func(format string, args ...any) {
		s.wrong = append(s.wrong, "response URL: "+fmt.Sprintf(format, args...))
		http.Error(w, "refused", http.StatusBadRequest)
	}
	if s.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	if s.limits["response"] > 0 {
		s.limits["response"]--
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	switch {
	case h == nil:
		wrong("no such URL")
		return
	case err != nil:
		wrong("%v", err)
		return
	case body.ResponseType != "ephemeral" || body.ReplaceOriginal:
		wrong("%q, replace %t: the fake takes what only the user sees", body.ResponseType, body.ReplaceOriginal)
		return
	case body.Text == "" || utf8.RuneCountInString(body.Text) > maxText:
		wrong("a text of %d characters", utf8.RuneCountInString(body.Text))
		return
	}
	var blocks []Block
	if len(body.Blocks) > 0 {
		var faults []string
		if blocks, faults = readBlocks(body.Blocks, false); len(faults) > 0 {
			wrong("%s", strings.Join(faults, "; "))
			return
		}
	}
	if h.calls++; h.calls > 5 {
		wrong("used more than five times")
		return
	}
	s.told = append(s.told, Told{User: h.user, Text: body.Text, Blocks: blocks})
	_, _ = io.WriteString(w, "ok") // a client that is gone reads nothing
}
