package activities

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// Headers of a call of a webhook; docs/clients.md says how to check them.
const (
	headerTimestamp = "Drawbridge-Timestamp" // Unix seconds
	headerSignature = "Drawbridge-Signature" // v1=<hex>
)

// shortestSecret that signs, in bytes.
const shortestSecret = 16

// hook is the body of a webhook's call. Key is the same for all that is said of one
// incident; At tells two calls of it apart.
type hook struct {
	Key         string    `json:"key"`
	At          time.Time `json:"at"`
	Kind        string    `json:"kind"`
	Page        bool      `json:"page"`
	Title       string    `json:"title"`
	Text        string    `json:"text,omitempty"`
	Pair        string    `json:"pair"`
	Operation   string    `json:"operation"`
	OperationID string    `json:"operation_id"`
	Team        string    `json:"team,omitempty"`
	Groups      []string  `json:"groups,omitempty"`
	Site        string    `json:"site,omitempty"`
}

// tellWebhook posts a signed notification. A redirect is not followed: where it
// leads is not in the plan.
func (a *Activities) tellWebhook(ctx context.Context, in workflows.NotifyInput) error {
	cfg := in.Notify.Webhook
	if cfg == nil {
		return errNotConfigured
	}
	to, err := cfg.URL, error(nil)
	if strings.HasPrefix(to, "${") {
		if to, err = a.resolve(to); err != nil {
			return err
		}
	}
	secret, err := a.resolve(cfg.Secret)
	if err != nil {
		return err
	}
	if len(secret) < shortestSecret {
		return badSecret("the webhook's secret (%s) is shorter than %d characters: it would sign nothing that counts", cfg.Secret, shortestSecret)
	}
	body, err := json.Marshal(hook{
		Key: incident(in), At: time.Now().UTC(), Kind: in.Kind, Page: in.Page, Title: in.Title, Text: in.Text,
		Pair: in.Call.Pair, Operation: in.Call.Operation, OperationID: in.Call.OperationID, Team: in.Team, Groups: in.Groups, Site: in.Site,
	})
	if err != nil {
		return err
	}
	return a.hide(secret, a.hide(to, again(ctx, func() (time.Duration, error) { return a.postSigned(ctx, to, secret, body) })))
}

func (a *Activities) postSigned(ctx context.Context, to, secret string, body []byte) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the webhook's URL is none: correct it in the plan, or what it refers to")
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Drawbridge")
	req.Header.Set(headerTimestamp, stamp)
	req.Header.Set(headerSignature, "v1="+signature(secret, stamp, body))
	once := http.Client{Transport: a.http.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	limited := watchLimit{&once, &wait}
	res, err := limited.Do(req)
	if err != nil {
		var told *url.Error
		if errors.As(err, &told) {
			err = told.Err // without the URL
		}
		return 0, fmt.Errorf("the webhook did not answer: %w", err)
	}
	_, _ = io.CopyN(io.Discard, res.Body, 1<<16) // so that the connection can be used again
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return wait, fmt.Errorf("the webhook answered %d, not 2xx", res.StatusCode)
	}
	return 0, nil
}

// signature is HMAC-SHA256 over timestamp, a dot and the body, in hex.
func signature(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
