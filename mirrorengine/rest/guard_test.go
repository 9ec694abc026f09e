package rest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func TestWithoutTheTokenOnlyProbesAnswer(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "lag 0\n")
	})
	base := start(t, Options{Links: &fakeLinks{}, Access: tokenOf("right"), Metrics: metrics})
	for _, tc := range []struct {
		path, header string
		want         int
	}{
		{"/healthz", "", 200},
		{"/readyz", "", 200},
		{"/metrics", "", 401},
		{"/metrics", "Bearer right", 200},
		{"/kafka/v3/clusters", "", 401},
		{"/kafka/v3/clusters", "Bearer wrong", 401},
		{"/kafka/v3/clusters", "Bearer righ", 401},
		{"/kafka/v3/clusters", "Bearer right2", 401},
		{"/kafka/v3/clusters", "right", 401},
		{"/kafka/v3/clusters", "Bearer right", 200},
		{"/kafka/v3/clusters", "bearer right", 200},
		{"/kafka/v3/clusters", "Basic a2V5OnJpZ2h0", 200}, // key:right, as the contract's tools send it
		{"/kafka/v3/clusters", "Basic a2V5Ondyb25n", 401}, // key:wrong
		{"/no/such/path", "", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+tc.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if tc.header != "" {
			req.Header.Set("Authorization", tc.header)
		}
		status, body, _ := send(t, req)
		if status != tc.want {
			t.Errorf("%s %q: got %d, want %d", tc.path, tc.header, status, tc.want)
		}
		if status == 401 && !strings.Contains(body, `"error_code":40101,"message":"Authentication failed"`) {
			t.Errorf("%s: body %s", tc.path, body)
		}
	}
}

func TestAWebPageOfAnotherOriginMayNotPromote(t *testing.T) {
	fake := &fakeLinks{}
	base := start(t, Options{Links: fake})
	req, err := http.NewRequestWithContext(t.Context(), "POST",
		base+"/kafka/v3/clusters/"+clusterID+"/links/l/mirrors:promote", strings.NewReader(`{"mirror_topic_name_pattern":".*"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://elsewhere.example")
	if status, body, _ := send(t, req); status != 403 || !strings.Contains(body, "40301") {
		t.Fatalf("got %d %s", status, body)
	}
	if calls := fake.take(); calls != nil {
		t.Fatalf("the engine was called: %v", calls)
	}
}

func TestRunEndsWithItsContextAndClosesTheListener(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ln, err := Listen(ctx, "127.0.0.1:0", Access{}, TLS{})
	if err != nil {
		t.Fatal(err)
	}
	server := New(Options{Links: &fakeLinks{}, Logger: slog.New(slog.DiscardHandler)})
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, ln) }()
	c := &api.Client{BaseURL: "http://" + ln.Addr().String()}
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	err = c.Ready(t.Context())
	var refused *api.Error
	if err == nil || errors.As(err, &refused) {
		t.Fatalf("still answers: %v", err)
	}
}
