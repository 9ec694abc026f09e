package client

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// What Consul's documentation asks of those who hold blocking queries: begin anew when the index goes down or is zero, and
// after every failure; never spin.
func TestTheIndexOfABlockingQueryIsResetAsConsulAsks(t *testing.T) {
	asked := make(chan string)
	answers := make(chan string) // an X-Consul-Index, or "fail"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Query().Get("index"):
		case <-r.Context().Done():
			return
		}
		select {
		case index := <-answers:
			if index == "fail" {
				http.Error(w, "No cluster leader", http.StatusInternalServerError)
				return
			}
			w.Header().Set("X-Consul-Index", index)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `[{"Key":"drawbridge/orders/active","Value":"e30="}]`)
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	s, err := newSource(0, Consul{Address: srv.URL}, Config{Pair: "orders"}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	seen := make(chan observation)
	done := make(chan struct{})
	go func() { defer close(done); s.run(ctx, seen) }()
	defer func() { cancel(); <-done }()

	began := time.Now()
	var got []string
	for _, answer := range []string{"10", "12", "5", "7", "0", "8", "fail", "9", "9"} {
		select {
		case index := <-asked:
			got = append(got, index)
		case <-ctx.Done():
			t.Fatalf("not asked again after %q", got)
		}
		answers <- answer
		o := <-seen
		if (o.err != nil) != (answer == "fail") {
			t.Errorf("answer %s: %v", answer, o.err)
		}
	}
	// Behind 12 comes 5, behind 7 comes 0, and then a failure: begin anew each time.
	want := []string{"", "10", "12", "", "7", "", "8", "", "9"}
	if !slices.Equal(got, want) {
		t.Errorf("asked for the indexes %q, want %q", got, want)
	}
	if took := time.Since(began); took < 8*50*time.Millisecond {
		t.Errorf("9 queries in %s: it spins when a Consul answers at once", took)
	}
}
