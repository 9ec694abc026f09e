package rest

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// Documented is documented for a caller: a transport whose calls and answers must
// be the OpenAPI document's.
func Documented(t *testing.T) http.RoundTripper {
	t.Helper()
	router, err := strict()
	if err != nil {
		t.Fatal(err)
	}
	return transport(func(r *http.Request) (*http.Response, error) {
		var sent []byte
		if r.Body != nil {
			if sent, err = io.ReadAll(r.Body); err != nil {
				return nil, err
			}
			r.Body = io.NopCloser(bytes.NewReader(sent))
		}
		asked := r.Clone(r.Context())
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		got := &overheard{status: resp.StatusCode, header: resp.Header}
		got.body.Write(body)
		if err := holds(router, asked, sent, got); err != "" {
			t.Errorf("%s %s answered %d %.300s\n%s", r.Method, r.URL, resp.StatusCode, body, err)
		}
		return resp, nil
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
