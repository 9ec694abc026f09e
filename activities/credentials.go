package activities

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// credentials looks at what the worker itself shows to a site. What an engine logs
// in with at the other site is the engine's to read; its link's tasks tell of it.
func (c check) credentials(_ context.Context) {
	s := c.site
	c.secret("password of kafka", s.Kafka.Security.Password)
	if s.Canary != nil {
		c.secret("canary's password", s.Canary.Password)
		c.certificate("authority of the canary's kafka", s.Canary.CAFile)
	}
	c.file("engine's token", s.Engine.TokenFile)
	c.file("consul's token", s.Consul.TokenFile)
	c.certificate("authority of kafka", s.Kafka.Security.CAFile)
	c.certificate("authority of the engine", s.Engine.CAFile)
	c.certificate("certificate shown to the engine", s.Engine.CertFile)
	c.file("key of the certificate shown to the engine", s.Engine.KeyFile)
}

// channels looks at what people are told with; whose (" of team x") ends its name.
func (c check) channels(whose string, n runbook.Notify) {
	if n.Slack != nil {
		c.secret("Slack webhook", n.Slack.Webhook)
		c.secret("Slack token", n.Slack.Token)
	}
	if n.PagerDuty != nil {
		c.secret("PagerDuty routing key"+whose, n.PagerDuty.RoutingKey)
		c.secret("PagerDuty routing key for escalations"+whose, n.PagerDuty.EscalationRoutingKey)
	}
	if n.Webhook != nil {
		c.secret("webhook's secret"+whose, n.Webhook.Secret)
		if strings.HasPrefix(n.Webhook.URL, "${") {
			c.secret("webhook's URL"+whose, n.Webhook.URL)
		}
	}
	if n.SMTP != nil {
		c.secret("password of the mail server", n.SMTP.Password)
		c.certificate("authority of the mail server", n.SMTP.CAFile)
	}
}

// credential notes what is wrong with one, and with none nothing. What people are
// told with is of no site, and blocks nothing.
func (c check) credential(cred runbook.Credential) {
	if what, cure, blocker := cred.Judge(time.Now()); what != "" {
		c.out.Findings = append(c.out.Findings, workflows.Finding{Site: c.site.Name, Part: runbook.PartCredentials, What: what, Cure: cure, Blocker: blocker && c.site.Name != ""})
	}
}

func (c check) secret(what, reference string) {
	if reference == "" {
		return
	}
	cred := runbook.Credential{What: what}
	if !secret.Referenced(reference) { // never a part of a text: it may be the secret
		cred.Problem = "the plan has no reference there"
		c.credential(cred)
		return
	}
	cred.What += " (" + reference + ")"
	seen, err := c.a.opts.Secrets.Look(reference)
	if cred.Expires = seen.Expires; err != nil {
		cred.Problem = err.Error()
	} else if seen.Aged != nil {
		cred.Aged = seen.Aged.Error()
	}
	c.credential(cred)
}

func (c check) file(what, path string) {
	cred := runbook.Credential{What: fmt.Sprintf("%s (%s)", what, path)}
	if _, err := secretFile(path); err != nil {
		cred.Problem = err.Error()
	}
	c.credential(cred)
}

// certificate looks at the certificate of a PEM file that ends first.
func (c check) certificate(what, path string) {
	if path == "" {
		return
	}
	cred := runbook.Credential{What: fmt.Sprintf("%s (%s)", what, path)}
	text, err := os.ReadFile(path)
	found := false
	for err == nil {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		var cert *x509.Certificate
		if block.Type == "CERTIFICATE" {
			if cert, err = x509.ParseCertificate(block.Bytes); err == nil && (!found || cert.NotAfter.Before(cred.Expires)) {
				found, cred.Expires = true, cert.NotAfter
			}
		}
	}
	switch {
	case err != nil:
		cred.Problem = err.Error()
	case !found:
		cred.Problem = "the file has no certificate in PEM"
	}
	c.credential(cred)
}
