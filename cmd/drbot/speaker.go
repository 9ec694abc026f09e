package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

// speaker calls Slack. It keeps a pause that Slack asks for, for all calls of that method, and never waits longer than its
// context.
type speaker struct {
	api *slack.Client
	// openWithin is how long the trigger of a dialog is good for: three seconds, by Slack's word.
	openWithin time.Duration

	mu     sync.Mutex           // guards what follows
	pauses map[string]time.Time // method → not before
	team   string
}

// call tries until Slack takes it, as long as Slack only asks for patience.
func (s *speaker) call(ctx context.Context, method string, do func() error) error {
	for {
		if err := s.rest(ctx, method); err != nil {
			return err
		}
		err := do()
		var limit *slack.RateLimitedError
		if !errors.As(err, &limit) {
			return err
		}
		s.mu.Lock()
		s.pauses[method] = time.Now().Add(max(limit.RetryAfter, time.Second))
		s.mu.Unlock()
	}
}

func (s *speaker) rest(ctx context.Context, method string) error {
	s.mu.Lock()
	wait := time.Until(s.pauses[method])
	s.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	if till, ok := ctx.Deadline(); ok && time.Until(till) < wait {
		return fmt.Errorf("slack wants no %s for %s", method, wait.Round(time.Second))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// home is the workspace that the bot is installed in.
func (s *speaker) home(ctx context.Context) (string, error) {
	s.mu.Lock()
	team := s.team
	s.mu.Unlock()
	if team != "" {
		return team, nil
	}
	err := s.call(ctx, "auth.test", func() error {
		got, err := s.api.AuthTestContext(ctx)
		if err == nil {
			team = got.TeamID
		}
		return err
	})
	if err == nil {
		s.mu.Lock()
		s.team = team
		s.mu.Unlock()
	}
	return team, err
}

// message is what a channel or a user reads.
type message struct {
	text   string // for notifications, and where blocks cannot be shown
	blocks []slack.Block
}

func (m message) options() []slack.MsgOption {
	return []slack.MsgOption{slack.MsgOptionText(clip(m.text, maxFallback), false), slack.MsgOptionBlocks(m.blocks...), slack.MsgOptionDisableLinkUnfurl()}
}

func (s *speaker) post(ctx context.Context, channel, thread string, m message) (string, error) {
	opts := m.options()
	if thread != "" {
		opts = append(opts, slack.MsgOptionTS(thread))
	}
	var ts string
	return ts, s.call(ctx, "chat.postMessage", func() (err error) {
		_, ts, err = s.api.PostMessageContext(ctx, channel, opts...)
		return err
	})
}

func (s *speaker) edit(ctx context.Context, channel, ts string, m message) error {
	return s.call(ctx, "chat.update", func() error {
		_, _, _, err := s.api.UpdateMessageContext(ctx, channel, ts, m.options()...)
		return err
	})
}

// open shows a dialog at once, within openWithin.
func (s *speaker) open(ctx context.Context, trigger string, v slack.ModalViewRequest) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.openWithin)
	defer cancel()
	err = s.call(ctx, "views.open", func() error {
		got, err := s.api.OpenViewContext(ctx, trigger, v)
		if err == nil {
			id = got.ID
		}
		return err
	})
	if says(err, "expired_trigger_id", "exchanged_trigger_id") {
		err = no("Slack lets me show a dialog for three seconds after you act, and they were over. Please do it again.")
	}
	return id, err
}

func (s *speaker) reopen(ctx context.Context, id string, v slack.ModalViewRequest) error {
	return s.call(ctx, "views.update", func() error {
		_, err := s.api.UpdateViewContext(ctx, v, "", "", id)
		return err
	})
}

// whisper tells only one user of a channel.
func (s *speaker) whisper(ctx context.Context, channel, user string, m message) error {
	return s.call(ctx, "chat.postEphemeral", func() error {
		_, err := s.api.PostEphemeralContext(ctx, channel, user, m.options()...)
		return err
	})
}

// reply tells only the user who did something.
func (s *speaker) reply(ctx context.Context, responseURL string, m message) error {
	msg := &slack.WebhookMessage{Text: clip(m.text, maxFallback), ResponseType: slack.ResponseTypeEphemeral}
	if len(m.blocks) > 0 {
		msg.Blocks = &slack.Blocks{BlockSet: m.blocks}
	}
	err := s.call(ctx, "response", func() error {
		return slack.PostWebhookCustomHTTPContext(ctx, responseURL, &http.Client{Timeout: 10 * time.Second}, msg)
	})
	var call *url.Error
	if errors.As(err, &call) { // it names the URL, by which anybody could speak to that user
		err = fmt.Errorf("response URL: %w", call.Err)
	}
	return err
}

// vanished: there is nothing left that could be written to, or nothing that Slack still lets the bot change, and no patience
// will bring it back. Of several errors each must say so.
func vanished(err error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(all.Unwrap(), func(e error) bool { return !vanished(e) })
	}
	return says(err, "message_not_found", "thread_not_found", "channel_not_found", "is_archived", "not_in_channel", "account_inactive",
		"edit_window_closed", "cant_update_message")
}

// viewGone: the dialog was closed.
func viewGone(err error) bool { return says(err, "not_found") }

// says: Slack answered with one of codes.
func says(err error, codes ...string) bool {
	var said slack.SlackErrorResponse
	return errors.As(err, &said) && slices.Contains(codes, said.Err)
}
