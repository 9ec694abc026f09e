package activities

import (
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const mailSecret = "mail-secret-of-the-night"

func mailTo(t *testing.T, f *fakeSMTP, how string) runbook.Notify {
	t.Helper()
	return runbook.Notify{SMTP: &runbook.SMTP{
		Server: f.addr, TLS: how, CAFile: f.caFile, Username: "dr", Password: secretFileFor(t, mailSecret),
		From: "dr@example.org", To: []string{"payments@example.org", "oncall@example.org"},
	}}
}

func TestAMailIsSentOverTLSToEveryAddress(t *testing.T) {
	for _, how := range []string{"starttls", "tls"} {
		t.Run(how, func(t *testing.T) {
			f := startSMTP(t, &fakeSMTP{login: "dr " + mailSecret, direct: how == "tls"})
			a := newActivities(t, Options{})
			title := "team payments: 1 groups\r\nBcc: everybody@example.org\r\n move to wëst"
			in := workflows.NotifyInput{Call: call("notify"), Notify: mailTo(t, f, how), Kind: workflows.NotifyMove, Title: title, Text: "group bílling\n.\nlast line", Page: true, Team: "payments"}
			got, err := a.Notify(t.Context(), in)
			if err != nil || got != (workflows.NotifyResult{Slack: "not configured", PagerDuty: "not configured", Webhook: "not configured", Email: "sent"}) {
				t.Fatalf("%+v, %v", got, err)
			}
			if want := []string{"payments@example.org", "oncall@example.org"}; len(f.wrong) > 0 || !slices.Equal(f.reached(), want) {
				t.Fatalf("faults %q, mails %q", f.wrong, f.mails)
			}
			_, content, _ := strings.Cut(f.mails[0], "\n")
			msg, err := mail.ReadMessage(strings.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			if subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil || subject != "team payments: 1 groups Bcc: everybody@example.org move to wëst" {
				t.Errorf("subject %q, %v", subject, err)
			}
			if msg.Header.Get("Bcc") != "" || msg.Header.Get("Date") == "" || msg.Header.Get("Message-ID") == "" {
				t.Errorf("header %v", msg.Header)
			}
			body, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
			if text := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || !strings.Contains(text, "group bílling\n.") || !strings.Contains(text, "last line") || !strings.Contains(text, "pair orders, operation failover-1") {
				t.Errorf("body %q, %v", text, err)
			}
		})
	}
}

// A colleague who has left must not silence the team.
func TestAnAddressThatIsRefusedKeepsNobodyElsesMail(t *testing.T) {
	f := startSMTP(t, &fakeSMTP{login: "dr " + mailSecret, refuse: "550 5.1.1 no such user", only: "left@example.org"})
	a := newActivities(t, Options{})
	n := mailTo(t, f, "starttls")
	n.SMTP.To = []string{"left@example.org", "payments@example.org", "oncall@example.org"}
	got, err := a.Notify(t.Context(), workflows.NotifyInput{Call: call("notify"), Notify: n, Kind: workflows.NotifyMove, Title: "x", Page: true})
	if err != nil || !strings.Contains(got.Email, "1 of 3 addresses got none (left@example.org: ") || !strings.Contains(got.Email, "no such user") {
		t.Errorf("%q, %v", got.Email, err)
	}
	if want := []string{"payments@example.org", "oncall@example.org"}; len(f.wrong) > 0 || !slices.Equal(f.reached(), want) {
		t.Errorf("faults %q, mails %q", f.wrong, f.mails)
	}
}

// Whatever a mail server does, the run hears of it as a fact, in bounded time, and
// without the password.
func TestAMailServerThatRefusesIsAFactOfTheResult(t *testing.T) {
	for name, c := range map[string]struct {
		server *fakeSMTP
		how    string
		want   string
		change func(*runbook.SMTP)
	}{
		"no starttls":        {&fakeSMTP{plain: true, login: "dr " + mailSecret}, "starttls", "does not support STARTTLS", nil},
		"no mail from us":    {&fakeSMTP{refuse: "550 5.7.1 relaying denied", login: "dr " + mailSecret}, "starttls", "relaying denied", nil},
		"wrong password":     {&fakeSMTP{login: "dr another"}, "starttls", "535", nil},
		"unknown authority":  {&fakeSMTP{login: "dr " + mailSecret}, "starttls", "certificate", func(s *runbook.SMTP) { s.CAFile = "" }},
		"no authority there": {&fakeSMTP{}, "starttls", "no such file", func(s *runbook.SMTP) { s.CAFile += ".gone" }},
		"a password refused": {&fakeSMTP{plain: true}, "none", "AUTH", nil}, // the plan's checks refuse it before
		"plain where tls is": {&fakeSMTP{plain: true}, "tls", "tls", nil},
		"no password there":  {&fakeSMTP{}, "starttls", "a secret of the plan", func(s *runbook.SMTP) { s.Password = "${file:/no/such/file}" }},
	} {
		t.Run(name, func(t *testing.T) {
			f := startSMTP(t, c.server)
			var log bytes.Buffer
			a := newActivities(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			n := mailTo(t, f, c.how)
			if c.change != nil {
				c.change(n.SMTP)
			}
			got, err := a.Notify(t.Context(), workflows.NotifyInput{Call: call("notify"), Notify: n, Kind: workflows.NotifyMove, Title: "x", Page: true})
			if err != nil || !strings.Contains(got.Email, c.want) {
				t.Errorf("%q, %v; want %q", got.Email, err, c.want)
			}
			if len(f.mails)+len(f.wrong) > 0 {
				t.Errorf("mails %q, faults %q", f.mails, f.wrong)
			}
			for _, text := range []string{got.Email, log.String()} {
				if strings.Contains(text, mailSecret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("\x00dr\x00"+mailSecret))) {
					t.Errorf("the password is told: %s", text)
				}
			}
		})
	}
}

func TestAMailServerOrWebhookThatHangsHoldsNothingUp(t *testing.T) {
	f := startSMTP(t, &fakeSMTP{hangs: true})
	n := mailTo(t, f, "starttls")
	n.Webhook = hanging(t)
	a := newActivities(t, Options{})
	began := time.Now()
	got, err := a.Notify(t.Context(), workflows.NotifyInput{Call: call("notify"), Notify: n, Kind: workflows.NotifyMove, Title: "x", Page: true})
	if took := time.Since(began); err != nil || took >= time.Minute {
		t.Errorf("took %s, %v", took, err)
	}
	// Either says so itself, if it comes to that in time.
	if !strings.Contains(got.Email, "did not end in 8s") || !strings.Contains(got.Webhook, "did not answer") && !strings.Contains(got.Webhook, "did not end in 8s") {
		t.Errorf("%+v", got)
	}
}
