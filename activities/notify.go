package activities

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/PagerDuty/go-pagerduty"
	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// What Notify says of a channel beside a problem.
const (
	sent          = "sent"
	notConfigured = runbook.NotConfigured
	notAsked      = "not asked"
)

// notifyWithin bounds a notification in all, below its step's time-out, so that
// the step ends by itself.
const notifyWithin = 8 * time.Second

// threads are the first messages of runs in Slack. They are kept in memory: a
// run that outlives its worker goes on in a second thread.
type threads struct {
	mu   sync.Mutex // guards open
	open map[string]thread
}

type thread struct{ channel, ts string }

func (t *threads) get(run string) (thread, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	th, ok := t.open[run]
	return th, ok
}

// put notes a run's thread. Old ones are dropped wholesale: a lost one costs a
// second thread.
func (t *threads) put(run string, th thread) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil || len(t.open) > 1000 {
		t.open = map[string]thread{}
	}
	t.open[run] = th
}

// Notify tells all channels at the same time. It never fails: what went wrong
// is its result.
func (a *Activities) Notify(ctx context.Context, in workflows.NotifyInput) (workflows.NotifyResult, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.notifies, notifyWithin))
	defer cancel()
	var out workflows.NotifyResult
	var wg sync.WaitGroup
	wg.Go(func() { out.Slack = a.told("slack", in, within(ctx, in, aloud(a.tellSlack))) })
	wg.Go(func() { out.PagerDuty = a.told("pagerduty", in, within(ctx, in, a.tellPagerDuty)) })
	wg.Go(func() { out.Webhook = a.told("webhook", in, within(ctx, in, a.tellWebhook)) })
	wg.Go(func() { out.Email = a.told("email", in, within(ctx, in, aloud(a.tellEmail))) })
	wg.Wait()
	return out, nil
}

// aloud is a channel that people read: it is not told what ends a page quietly.
func aloud(tell func(context.Context, workflows.NotifyInput) error) func(context.Context, workflows.NotifyInput) error {
	return func(ctx context.Context, in workflows.NotifyInput) error {
		if in.Quietly {
			return errNotAsked
		}
		return tell(ctx, in)
	}
}

// hangsFor is how long a channel may go on behind the end of its time: most say better
// themselves what they waited for.
const hangsFor = 500 * time.Millisecond

// within gives a channel up whose time is over, whatever it hangs in: what holds its
// secret takes no context, and a step that timed out would tell the others again.
func within(ctx context.Context, in workflows.NotifyInput, tell func(context.Context, workflows.NotifyInput) error) error {
	told := make(chan error, 1)
	go func() { told <- tell(ctx, in) }()
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-told:
		return err
	case <-time.After(hangsFor):
		return fmt.Errorf("it did not end in %s: what holds its secret, or its server, does not answer", notifyWithin)
	}
}

// Outcomes that are no problem.
var (
	errNotConfigured = errors.New(notConfigured)
	errNotAsked      = errors.New(notAsked)
)

func (a *Activities) told(channel string, in workflows.NotifyInput, err error) string {
	switch {
	case err == nil:
		return sent
	case errors.Is(err, errNotConfigured), errors.Is(err, errNotAsked):
		return err.Error()
	}
	text := err.Error()
	if r := []rune(text); len(r) > problemLimit { // a server's answer may be as long as it likes
		text = string(r[:problemLimit]) + " …"
	}
	a.logger(in.Call).Warn("notification was not sent", "channel", channel, "kind", in.Kind, "team", in.Team, "error", text)
	return text
}

// problemLimit is how much of a problem is kept, in characters.
const problemLimit = 500

// again tries a second time where the server names a pause that fits.
func again(ctx context.Context, try func() (wait time.Duration, err error)) error {
	tries := 0
	return patiently(ctx, func() (time.Duration, error) {
		wait, err := try()
		if tries++; tries == 2 {
			wait = 0
		}
		return wait, err
	})
}

// patiently tries until it is done, as long as the server only names pauses that fit.
func patiently(ctx context.Context, try func() (wait time.Duration, err error)) error {
	for {
		wait, err := try()
		deadline, ok := ctx.Deadline()
		if err == nil || wait <= 0 || ok && time.Until(deadline) < wait+time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

func (a *Activities) tellSlack(ctx context.Context, in workflows.NotifyInput) error {
	cfg := in.Notify.Slack
	if cfg == nil {
		return errNotConfigured
	}
	if cfg.Webhook != "" {
		url, err := a.resolve(cfg.Webhook)
		if err != nil {
			return err
		}
		msg := &slack.WebhookMessage{Text: slackText(in)}
		return a.hide(url, again(ctx, func() (time.Duration, error) {
			return limited(slack.PostWebhookCustomHTTPContext(ctx, url, a.http, msg))
		}))
	}
	token, err := a.resolve(cfg.Token)
	if err != nil {
		return err
	}
	opts := []slack.Option{slack.OptionHTTPClient(a.http)}
	if a.opts.SlackAPI != "" {
		opts = append(opts, slack.OptionAPIURL(strings.TrimSuffix(a.opts.SlackAPI, "/")+"/"))
	}
	c := slack.New(token, opts...)
	return a.hide(token, patiently(ctx, func() (time.Duration, error) {
		wait, err := limited(a.post(ctx, c, cfg.Channel, in))
		a.pace.rest(cfg.Channel, wait)
		return wait, err
	}))
}

// post writes the run's first message, or into its thread; the end of a run
// also changes the first message, so that the channel shows it.
func (a *Activities) post(ctx context.Context, c *slack.Client, channel string, in workflows.NotifyInput) error {
	text := slack.MsgOptionText(slackText(in), false)
	run := incident(in)
	switch {
	case in.Thread != "":
		run = in.Call.OperationID + "/" + in.Thread
	case in.Team == "":
		run = in.Call.OperationID
	}
	if err := a.pace.turn(ctx, channel); err != nil {
		return err
	}
	first, ok := a.threads.get(run)
	if workflows.OfNoRun(in.Kind) {
		_, _, err := c.PostMessageContext(ctx, channel, text)
		return err
	}
	if !ok {
		channel, ts, err := c.PostMessageContext(ctx, channel, text)
		if err == nil {
			a.threads.put(run, thread{channel, ts})
		}
		return err
	}
	if _, _, err := c.PostMessageContext(ctx, first.channel, text, slack.MsgOptionTS(first.ts)); err != nil {
		return err
	}
	if in.Kind != workflows.NotifyFinished && in.Kind != workflows.NotifyMoved || in.Thread != "" {
		return nil
	}
	err := patiently(ctx, func() (time.Duration, error) {
		_, _, _, err := c.UpdateMessageContext(ctx, first.channel, first.ts, text)
		return limited(err)
	})
	if wait, _ := limited(err); wait > 0 {
		return errors.New("the reply is there, the first message was not changed: " + err.Error()) // a limit would have all of it written again
	}
	return err
}

// limited reads the pause that Slack asks for.
func limited(err error) (time.Duration, error) {
	var limit *slack.RateLimitedError
	if errors.As(err, &limit) {
		return limit.RetryAfter, err
	}
	return 0, err
}

// slackText escapes what Slack would read as mark-up: names of other people's
// topics and groups are in it.
func slackText(in workflows.NotifyInput) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	text := "*" + escape(in.Title) + "*"
	if in.Text != "" {
		text += "\n" + escape(in.Text)
	}
	if len(in.Mention) > 0 {
		text += "\n"
		for i, id := range in.Mention {
			text += strings.Repeat(" ", min(i, 1)) + mention(id)
		}
	}
	return text + "\n" + escape(fmt.Sprintf("pair %s, operation %s", in.Call.Pair, in.Call.OperationID))
}

// mention of a member, or of a user group (S…).
func mention(id string) string {
	if strings.HasPrefix(id, "S") {
		return "<!subteam^" + id + ">"
	}
	return "<@" + id + ">"
}

// hide takes a secret out of an error: a URL error repeats the URL.
func (a *Activities) hide(secret string, err error) error {
	if err == nil || secret == "" || !strings.Contains(err.Error(), secret) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), secret, "(secret)"))
}

// summaryLimit is PagerDuty's, in characters.
const summaryLimit = 1024

// keyLimit is PagerDuty's for what names an incident.
const keyLimit = 255

// incident names what a notification is about. A run is one; so is each team's part
// in it, and a group of no team that people move.
func incident(in workflows.NotifyInput) string {
	key := "drawbridge/" + in.Call.Pair + "/" + in.Call.OperationID
	switch {
	case in.Team != "":
		key += "/team " + in.Team
	case in.Kind == workflows.NotifyMove:
		key += "/" + in.Title
	}
	if len(key) > keyLimit {
		key = fmt.Sprintf("drawbridge/%x", sha256.Sum256([]byte(key)))
	}
	return key
}

// tellPagerDuty pages, or resolves the page when what it was about is over.
func (a *Activities) tellPagerDuty(ctx context.Context, in workflows.NotifyInput) error {
	cfg := in.Notify.PagerDuty
	switch {
	case cfg == nil:
		return errNotConfigured
	case !in.Page && !workflows.EndsPage(in.Kind):
		return errNotAsked
	}
	// An incident of those whom things are escalated to ends with the run too.
	var keys []string
	if cfg.RoutingKey != "" {
		keys = append(keys, cfg.RoutingKey)
	}
	if cfg.EscalationRoutingKey != "" && (in.Wide || !in.Page) {
		keys = append(keys, cfg.EscalationRoutingKey)
	}
	if len(keys) == 0 { // a team without a service, of which only escalations reach somebody
		return errNotConfigured
	}
	var errs []error
	for _, ref := range keys {
		key, err := a.resolve(ref)
		if err == nil {
			err = a.event(ctx, key, in)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// event sends what PagerDuty is told to the service of a routing key.
func (a *Activities) event(ctx context.Context, key string, in workflows.NotifyInput) error {
	ev := &pagerduty.V2Event{RoutingKey: key, Action: "trigger", DedupKey: incident(in), Client: "Drawbridge"}
	switch {
	case in.Kind == workflows.NotifyAcknowledged:
		ev.Action = "acknowledge"
	case !in.Page:
		ev.Action = "resolve"
	default:
		summary := in.Title
		if in.Text != "" {
			summary += ": " + in.Text
		}
		if r := []rune(summary); len(r) > summaryLimit {
			summary = string(r[:summaryLimit])
		}
		ev.Payload = &pagerduty.V2Payload{
			Summary: summary, Source: "drawbridge/" + in.Call.Pair, Severity: "critical",
			Details: map[string]string{"pair": in.Call.Pair, "operation": in.Call.Operation, "operation_id": in.Call.OperationID, "text": in.Text},
		}
		if in.Mild {
			ev.Payload.Severity = "warning"
		}
		if in.Team != "" {
			ev.Payload.Details = map[string]string{"pair": in.Call.Pair, "operation": in.Call.Operation, "operation_id": in.Call.OperationID, "text": in.Text, "team": in.Team}
		}
	}
	var opts []pagerduty.ClientOptions
	if a.opts.PagerDutyAPI != "" {
		opts = append(opts, pagerduty.WithV2EventsAPIEndpoint(strings.TrimSuffix(a.opts.PagerDutyAPI, "/")))
	}
	c := pagerduty.NewClient("", opts...)
	var wait time.Duration
	c.HTTPClient = watchLimit{a.http, &wait}
	return a.hide(key, again(ctx, func() (time.Duration, error) {
		wait = 0
		_, err := c.ManageEventWithContext(ctx, ev)
		return wait, err
	}))
}

// watchLimit notes the pause of a 429, which the client's error does not keep.
type watchLimit struct {
	http *http.Client
	wait *time.Duration
}

func (w watchLimit) Do(r *http.Request) (*http.Response, error) {
	res, err := w.http.Do(r)
	if err == nil && res.StatusCode == http.StatusTooManyRequests {
		*w.wait = time.Second
		if d, perr := time.ParseDuration(res.Header.Get("Retry-After") + "s"); perr == nil && d > 0 {
			*w.wait = d
		}
	}
	return res, err
}
