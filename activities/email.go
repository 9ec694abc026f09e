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

// tellEmail sends one mail to all addresses.
func (a *Activities) tellEmail(ctx context.Context, in workflows.NotifyInput) error {
	cfg := in.Notify.SMTP
	if cfg == nil || len(cfg.To) == 0 {
		return errNotConfigured
	}
	password, err := a.resolve(cfg.Password)
	if err != nil {
		return err
	}
	msg, err := letter(*cfg, in)
	if err != nil {
		return err
	}
	c, err := mailer(ctx, *cfg, password)
	if err == nil {
		err = c.DialAndSendWithContext(ctx, msg)
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

// letter is the mail itself. Names of other people's groups are in its subject,
// which is one line.
func letter(cfg runbook.SMTP, in workflows.NotifyInput) (*mail.Msg, error) {
	msg := mail.NewMsg()
	if err := msg.From(cfg.From); err != nil {
		return nil, err
	}
	if err := msg.To(cfg.To...); err != nil {
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
