package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
)

// Bot is the running process.
type Bot struct {
	cfg    Config
	log    *slog.Logger
	op     *operator.Operator
	signer operator.Signer
	slack  *speaker
	secret string // of signed requests
	plans  *plans
	state  *state

	listener net.Listener
	ready    atomic.Bool // Slack can reach it
	seen     seen        // what was taken already
	sent     sent        // dialogs, and what became of them
	work     sync.WaitGroup
	ctx      context.Context // of what people asked for; ends with Run
	now      func() time.Time
	// askWithin is for the run to say what it waits for. Slack gives three seconds from the click to the dialog; whoever clicks
	// is told that the run is slow, not that something of Slack's has expired.
	askWithin time.Duration

	mu       sync.Mutex // guards watchers
	watchers map[string]*watcher
}

// How long what a person has asked for may take.
const (
	lookWithin  = 2 * time.Minute // a dry run
	replyWithin = 45 * time.Second
	// tellWithin is kept for telling how it ended, whatever it took: nobody shall go on believing that it is under way.
	tellWithin = 10 * time.Second
	stopWithin = 10 * time.Second
)

// New reads secrets and connects to Temporal.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Bot, error) {
	b := &Bot{cfg: cfg, log: log, plans: &plans{dir: cfg.PlansDir}, watchers: map[string]*watcher{}, ctx: ctx, now: time.Now, askWithin: 2 * time.Second}
	var errs []error
	read := func(into *string, key, file string) {
		v, err := secretFrom(key, file)
		errs = append(errs, err)
		*into = v
	}
	var token, app string
	read(&token, "slack.bot_token_file", cfg.Slack.BotTokenFile)
	read(&app, "slack.app_token_file", cfg.Slack.AppTokenFile)
	read(&b.secret, "slack.signing_secret_file", cfg.Slack.SigningSecretFile)
	var err error
	b.signer, err = operator.LoadBotSigner(cfg.KeyFile)
	errs = append(errs, err)
	b.state, err = loadState(cfg.StateFile, log)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	opts := []slack.Option{slack.OptionHTTPClient(&http.Client{Timeout: 10 * time.Second}), slack.OptionAppLevelToken(app)}
	if cfg.Slack.URL != "" {
		opts = append(opts, slack.OptionAPIURL(strings.TrimSuffix(cfg.Slack.URL, "/")+"/"))
	}
	b.slack = &speaker{api: slack.New(token, opts...), pauses: map[string]time.Time{}, openWithin: 3 * time.Second}
	if b.op, err = operator.Dial(ctx, operator.Config{Address: cfg.Temporal.Address, Namespace: cfg.Temporal.Namespace, Log: log}); err != nil {
		return nil, err
	}
	if b.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen); err != nil {
		b.op.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return b, nil
}

// Addr is where it listens.
func (b *Bot) Addr() net.Addr { return b.listener.Addr() }

// Close releases what New has opened.
func (b *Bot) Close() {
	_ = b.listener.Close() // Run may have done so
	b.op.Close()
}

// Run serves until ctx ends. What people have asked for by then is given a moment to be done.
func (b *Bot) Run(ctx context.Context) error {
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{Handler: b.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	failed := make(chan error, 1)
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := server.Serve(b.listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})
	running, stop := context.WithCancel(ctx)
	defer stop()
	parts.Go(func() { b.watchPairs(running) })
	if b.cfg.Mode == modeSocket {
		parts.Go(func() { b.listenOnSocket(running) })
	} else {
		b.ready.Store(true)
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	end, done := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer done()
	err = errors.Join(err, server.Shutdown(end))
	time.AfterFunc(stopWithin, cancel)
	parts.Wait() // nothing is asked for any more
	b.work.Wait()
	return err
}

// async does what was asked for, after it was acknowledged to Slack.
func (b *Bot) async(within time.Duration, do func(context.Context)) {
	b.work.Go(func() {
		ctx, cancel := context.WithTimeout(b.ctx, within)
		defer cancel()
		do(ctx)
	})
}
