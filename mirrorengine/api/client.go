package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// maxAnswer bounds what is read of one answer, in bytes: a wrong address must
// not fill the memory of its caller.
const maxAnswer = 256 << 20

// Client calls one engine. Fill in BaseURL and go; it must not be copied after
// its first use (As gives a second one). Every method returns the engine's
// refusal as an *Error; any other error means that the engine was not reached
// or the answer was lost, so that a change may or may not have happened.
//
// Contract calls go to the engine's own (local) cluster, whose id is asked for
// once.
type Client struct {
	// BaseURL is the engine's address, as http://host:port, without a path.
	BaseURL string
	// Token is sent as a bearer token; empty for none.
	Token string
	// HTTP is the client to use, nil for http.DefaultClient. It needs no
	// time-out of its own: every call ends with its ctx.
	HTTP *http.Client

	operation Operation
	root      *Client // the client that As was called on; it keeps the cluster id

	mu      sync.Mutex // guards cluster
	cluster string
}

// As is a client whose calls carry the token of an operation, by which the
// engine refuses calls of ended and superseded runs.
func (c *Client) As(op Operation) *Client {
	root := c
	if c.root != nil {
		root = c.root
	}
	return &Client{BaseURL: c.BaseURL, Token: c.Token, HTTP: c.HTTP, operation: op, root: root}
}

// ClusterID is the id of the engine's local cluster. It is asked for once and
// kept: an engine that was pointed at another cluster meanwhile answers 404.
func (c *Client) ClusterID(ctx context.Context) (string, error) {
	if c.root != nil {
		return c.root.ClusterID(ctx)
	}
	c.mu.Lock()
	id := c.cluster
	c.mu.Unlock()
	if id != "" {
		return id, nil
	}
	clusters, err := c.Clusters(ctx)
	if err != nil {
		return "", err
	}
	if len(clusters) == 0 || clusters[0].ClusterID == "" {
		return "", fmt.Errorf("engine %s: lists no local cluster", c.BaseURL)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cluster = clusters[0].ClusterID
	return c.cluster, nil
}

// inCluster calls do with the path that path makes from the local cluster's id.
func (c *Client) inCluster(ctx context.Context, method string, path func(cluster string) string, query url.Values, in, out any) error {
	cluster, err := c.ClusterID(ctx)
	if err != nil {
		return err
	}
	return c.do(ctx, method, path(cluster), query, in, out)
}

// do sends in as JSON (nil: no body) and reads the answer into out (nil: not
// read).
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("engine %s %s: write the body: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	address := strings.TrimSuffix(c.BaseURL, "/") + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return fmt.Errorf("engine %s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.operation.OperationID != "" {
		req.Header.Set(HeaderOperation, c.operation.OperationID)
		req.Header.Set(HeaderEpoch, strconv.FormatInt(c.operation.Epoch, 10))
	}
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	resp, err := hc.Do(req)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("engine %s %s: answer cut off: %w", method, path, err)
	}
	if len(answer) > maxAnswer {
		return fmt.Errorf("engine %s %s: answer over %d bytes", method, path, maxAnswer)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusal(resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("engine %s %s: answer %d is not what the contract says: %w", method, path, resp.StatusCode, err)
	}
	return nil
}

// refusal reads an error body. Something else than the engine may have
// answered (a proxy, a wrong port): then its text is the message.
func refusal(status int, body []byte) *Error {
	e := &Error{}
	if json.Unmarshal(body, e) != nil || e.Message == "" {
		text := strings.TrimSpace(string(body))
		if len(text) > 300 {
			text = text[:300] + "…"
		}
		e.Message = strings.TrimSpace(http.StatusText(status) + " " + text)
	}
	if e.ErrorCode == 0 {
		e.ErrorCode = status
	}
	e.Status = status
	return e
}

// flags builds the query of boolean parameters; false is left out where it is
// the default.
func flags(pairs map[string]bool) url.Values {
	q := url.Values{}
	for name, on := range pairs {
		if on {
			q.Set(name, "true")
		}
	}
	return q
}
