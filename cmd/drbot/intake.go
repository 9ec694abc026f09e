package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

// What Slack sends comes over a websocket that the bot has dialled (Socket Mode), or as signed requests. Either way it is
// acknowledged at once, and done afterwards.

// listenOnSocket takes envelopes until ctx ends. The client dials again by itself; where it gives up, we do.
func (b *Bot) listenOnSocket(ctx context.Context) {
	for ctx.Err() == nil {
		c := socketmode.New(b.slack.api)
		done := make(chan error, 1)
		go func() { done <- c.RunContext(ctx) }()
		err := b.take(ctx, c, done)
		b.ready.Store(false)
		if ctx.Err() != nil {
			return
		}
		b.log.Warn("no connection to Slack; runs go on without it", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}

func (b *Bot) take(ctx context.Context, c *socketmode.Client, done chan error) error {
	for {
		select {
		case err := <-done:
			return err
		case e := <-c.Events:
			switch e.Type {
			case socketmode.EventTypeHello:
				b.ready.Store(true)
				b.log.Info("connected to Slack")
			case socketmode.EventTypeDisconnect, socketmode.EventTypeConnecting, socketmode.EventTypeConnectionError:
				b.ready.Store(false)
			default:
			}
			if e.Request == nil || e.Type == socketmode.EventTypeHello {
				continue
			}
			var answer any
			// Slack sends an envelope again if the acknowledgement gets lost. A dialog needs its answer all the same, or it closes;
			// it knows itself that it was sent before.
			if b.seen.first(e.Request.EnvelopeID, b.now()) || isSubmission(e.Data) {
				answer = b.dispatch(e.Data)
			}
			var err error
			if answer == nil {
				err = c.AckCtx(ctx, e.Request.EnvelopeID, nil)
			} else {
				err = c.AckCtx(ctx, e.Request.EnvelopeID, answer)
			}
			if err != nil && ctx.Err() == nil {
				b.log.Warn("acknowledgement was not sent to Slack", "error", err)
			}
		}
	}
}

func isSubmission(data any) bool {
	d, ok := data.(slack.InteractionCallback)
	return ok && d.Type == slack.InteractionTypeViewSubmission
}

// dispatch takes what Slack sent; its result, if any, is part of the acknowledgement.
func (b *Bot) dispatch(data any) any {
	switch d := data.(type) {
	case slack.SlashCommand:
		b.async(lookWithin+replyWithin, func(ctx context.Context) { b.command(ctx, d) })
	case slack.InteractionCallback:
		switch d.Type {
		case slack.InteractionTypeBlockActions:
			b.async(replyWithin, func(ctx context.Context) { b.clicked(ctx, d) })
		case slack.InteractionTypeViewSubmission:
			return b.submitted(d)
		default: // nothing of ours makes any other
		}
	}
	return nil
}

// handler serves health and, in mode http, Slack's requests.
func (b *Bot) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !b.ready.Load() {
			http.Error(w, "no connection to Slack", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	if b.cfg.Mode == modeHTTP {
		mux.HandleFunc("POST /slack/commands", b.signed(func(r *http.Request) (any, error) { return slack.SlashCommandParse(r) }))
		mux.HandleFunc("POST /slack/interactions", b.signed(func(r *http.Request) (any, error) {
			var d slack.InteractionCallback
			return d, json.Unmarshal([]byte(r.PostFormValue("payload")), &d)
		}))
	}
	return mux
}

const maxBody = 1 << 20

// signed lets pass what Slack signed in the last five minutes, and that once: Slack sends no request of these kinds twice.
func (b *Bot) signed(parse func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err == nil {
			err = b.verify(r.Header, body)
		}
		if err != nil {
			b.log.Warn("a request that claims to be Slack's was refused", "path", r.URL.Path, "remote", r.RemoteAddr, "error", err)
			http.Error(w, "not Slack's signature", http.StatusUnauthorized)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		data, err := parse(r)
		if err != nil {
			b.log.Warn("a request of Slack's was not understood", "path", r.URL.Path, "error", err)
			http.Error(w, "not understood", http.StatusBadRequest)
			return
		}
		answer := b.dispatch(data)
		if answer == nil {
			w.WriteHeader(http.StatusOK)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // a caller that is gone reads nothing
	}
}

var errReplayed = errors.New("this very request came before")

func (b *Bot) verify(h http.Header, body []byte) error {
	v, err := slack.NewSecretsVerifier(h, b.secret) // refuses a time stamp that is five minutes off
	if err != nil {
		return err
	}
	if _, err := v.Write(body); err != nil {
		return err
	}
	if err := v.Ensure(); err != nil {
		return err
	}
	if !b.seen.first("signature "+h.Get("X-Slack-Signature"), b.now()) {
		return errReplayed
	}
	return nil
}

// seen remembers what was taken, for longer than a signature is good.
type seen struct {
	mu sync.Mutex // guards at
	at map[string]time.Time
}

const seenFor = 15 * time.Minute

// first tells whether an id is new.
func (s *seen) first(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]time.Time{}
	}
	for k, t := range s.at {
		if now.Sub(t) > seenFor {
			delete(s.at, k)
		}
	}
	_, known := s.at[id]
	s.at[id] = now
	return !known
}
