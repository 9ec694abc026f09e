package activities

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// tellEmail sends each address a mail of its own: a server that refuses one of several
// recipients keeps the others' mail from them too.
func (a *Activities) tellEmail(ctx context.Context, in workflows.NotifyInput) error {
	cfg := in.Notify.SMTP
	if cfg == nil || len(cfg.To) == 0 {
		return errNotConfigured
	}
	password, err := a.resolve(cfg.Password)
	if err != nil {
		return err
	}
	msgs := make([]*mail.Msg, len(cfg.To))
	for i, to := range cfg.To {
		if msgs[i], err = letter(*cfg, to, in); err != nil {
			return err
		}
	}
	c, err := mailer(ctx, *cfg, password)
	if err == nil {
		err = unsent(cfg.To, msgs, c.DialAndSendWithContext(ctx, msgs...))
	}
	switch {
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("mail by %s: it did not end in %s: %w", cfg.Server, notifyWithin, err)
	case err != nil:
		err = fmt.Errorf("mail by %s: %w", cfg.Server, err)
	}
	// A server may repeat what it was shown, as it was shown: PLAIN's, then LOGIN's.
	for _, said := range []string{"\x00" + cfg.Username + "\x00" + password, password} {
		if password != "" {
			err = a.hide(said, a.hide(base64.StdEncoding.EncodeToString([]byte(said)), err))
		}
	}
	return err
}

// unsent says which addresses got no mail, where err tells that there are some.
func unsent(to []string, msgs []*mail.Msg, err error) error {
	var why []string
	for i, m := range msgs {
		switch {
		case m.IsDelivered():
		case m.HasSendError():
			why = append(why, to[i]+": "+strings.Join(strings.Fields(m.SendError().Error()), " "))
		default:
			why = append(why, to[i])
		}
	}
	switch {
	case err == nil || len(why) == 0:
		return nil // that the line did not end well takes no mail back
	case len(why) == len(to) && !msgs[0].HasSendError():
		return err // none had its turn
	}
	return fmt.Errorf("%d of %d addresses got none (%s)", len(why), len(to), strings.Join(why, "; "))
}

// letter is the mail itself. Names of other people's groups are in its subject,
// which is one line.
func letter(cfg runbook.SMTP, to string, in workflows.NotifyInput) (*mail.Msg, error) {
	msg := mail.NewMsg()
	if err := msg.From(cfg.From); err != nil {
		return nil, err
	}
	if err := msg.To(to); err != nil {
		return nil, err
	}
	msg.Subject(strings.Join(strings.Fields(in.Title), " "))
	msg.SetDate()
	msg.SetMessageID()
	text := in.Title + "\n\n" + in.Text + "\n\n" + fmt.Sprintf("pair %s, operation %s", in.Call.Pair, in.Call.OperationID) + "\n"
	msg.SetBodyString(mail.TypeTextPlain, text)
	return msg, nil
}

// mailer logs in only where the line is encrypted, and ends with ctx whatever the
// server does.
func mailer(ctx context.Context, cfg runbook.SMTP, password string) (*mail.Client, error) {
	host, port, err := net.SplitHostPort(cfg.Server)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("authority of the mail server: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authority of the mail server: %s has no certificate in PEM", cfg.CAFile)
		}
	}
	// With tls the line is encrypted before the first word: then the library only has
	// to see that it is, or it shows no password.
	policy := mail.TLSMandatory
	switch cfg.TLS {
	case "tls":
		policy = mail.TLSOpportunistic
	case "none":
		policy = mail.NoTLS
	}
	opts := []mail.Option{
		mail.WithPort(number), mail.WithTimeout(2 * notifyWithin) /* ctx ends first */, mail.WithTLSConfig(trust), mail.WithTLSPolicy(policy),
		mail.WithDialContextFunc(func(dctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialMail(dctx, network, address, cfg.TLS, trust)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = conn.Close() }) // a server that hangs is left alone
			}
			return conn, err
		}),
	}
	if cfg.Username != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(cfg.Username), mail.WithPassword(password))
	}
	return mail.NewClient(host, opts...)
}

func dialMail(ctx context.Context, network, address, how string, trust *tls.Config) (net.Conn, error) {
	if how == "tls" {
		return (&tls.Dialer{Config: trust}).DialContext(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
