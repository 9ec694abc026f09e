package rest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/rest"
)

// strictClient makes the contract's calls under one prefix, and takes nothing that
// the contract does not say.
type strictClient struct {
	tables
	t       *testing.T
	http    *http.Client // whose calls are held against the OpenAPI document too
	base    string       // with the prefix
	token   string
	cluster string
	link    string
	// done are the calls that succeeded, failed the error codes that were met.
	done   map[string]bool
	failed map[int]bool
}

func newStrictClient(t *testing.T, base string) *strictClient {
	t.Helper()
	return &strictClient{
		tables: readTables(t), t: t, http: &http.Client{Transport: rest.Documented(t)},
		base: base, token: adminToken, done: map[string]bool{}, failed: map[int]bool{},
	}
}

// object is a body.
type object = map[string]any

// ask is a call's parameters; what the path names beyond cluster and link is in
// path, by the contract's names.
type ask struct {
	path, query map[string]string
	body        any // object, or a string as it is
}

// do makes a call of the table and gives its answer, which must be the table's
// success.
func (c *strictClient) do(call string, a ask) object {
	c.t.Helper()
	of, status, answer := c.send(call, a)
	if status != of.status {
		c.t.Fatalf("%s %+v: got %d %s", call, a, status, answer)
	}
	c.done[call] = true
	if of.out == "" {
		if len(bytes.TrimSpace(answer)) > 0 {
			c.t.Fatalf("%s: the contract has no body: %s", call, answer)
		}
		return nil
	}
	if err := c.check(of.out, answer); err != nil {
		c.t.Fatalf("%s: %v\n%s", call, err, answer)
	}
	var out object
	if err := json.Unmarshal(answer, &out); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// list is do for a list's data.
func (c *strictClient) list(call string, a ask) []object {
	c.t.Helper()
	var out []object
	for _, item := range c.do(call, a)["data"].([]any) {
		out = append(out, item.(object))
	}
	return out
}

// refused makes a call that must fail with an error code, and whose message says.
func (c *strictClient) refused(call string, a ask, code int, says string) {
	c.t.Helper()
	_, status, answer := c.send(call, a)
	c.isError(call, status, answer, code, says)
}

func (c *strictClient) isError(call string, status int, answer []byte, code int, says string) {
	c.t.Helper()
	if err := c.check("Error", answer); err != nil {
		c.t.Errorf("%s: got %d, %v\n%s", call, status, err, answer)
		return
	}
	var e struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(answer, &e); err != nil {
		c.t.Fatal(err)
	}
	if e.Code != code || status != c.codes[code] || !strings.Contains(e.Message, says) {
		c.t.Errorf("%s: got %d %s, want %d %d …%s…", call, status, answer, c.codes[code], code, says)
		return
	}
	c.failed[code] = true
}

// send makes a call as the table has it: no parameter and no field of the body that
// it does not name. Bodies that are texts are sent as they are.
func (c *strictClient) send(call string, a ask) (contractCall, int, []byte) {
	c.t.Helper()
	of, known := c.calls[call]
	if !known {
		c.t.Fatalf("%s: the contract has no such call", call)
	}
	query := url.Values{}
	for name, value := range a.query {
		if _, known := of.query[name]; !known {
			c.t.Fatalf("%s: the contract has no query parameter %s", call, name)
		}
		query.Set(name, value)
	}
	path := of.path
	for name, value := range map[string]string{"cluster_id": c.cluster, "link_name": c.link} {
		if _, own := a.path[name]; !own {
			path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
		}
	}
	for name, value := range a.path {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	if strings.Contains(path, "{") {
		c.t.Fatalf("%s: %s has a parameter left", call, path)
	}
	var body []byte
	switch b := a.body.(type) {
	case nil:
	case string:
		body = []byte(b)
	default:
		var err error
		if body, err = json.Marshal(b); err != nil {
			c.t.Fatal(err)
		}
		if err := c.check(of.in, body); err != nil {
			c.t.Fatalf("%s: the contract has no such request: %v", call, err)
		}
	}
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	status, answer := c.raw(of.method, address, body)
	return of, status, answer
}

func (c *strictClient) raw(method, address string, body []byte) (int, []byte) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(answer) > 0 && resp.Header.Get("Content-Type") != "application/json" {
		c.t.Errorf("%s %s: content type %q", method, address, resp.Header.Get("Content-Type"))
	}
	return resp.StatusCode, answer
}
