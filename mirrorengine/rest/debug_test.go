package rest

import (
	"net/http"
	"strings"
	"testing"
)

func TestDebugPagesAreForAdmins(t *testing.T) {
	base := start(t, Options{Links: &fakeLinks{}, Access: three()})
	get := func(path, token string) (int, string, http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		return send(t, req)
	}
	for _, path := range []string{"/debug/mirrors", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/trace?seconds=0.01", "/debug/pprof/profile?seconds=1"} {
		for token, want := range map[string]int{"read-token": 403, "operate-token": 403, "no-token": 401, "admin-token": 200} {
			if status, body, _ := get(path, token); status != want || body == "" && want != 200 {
				t.Errorf("%s with %s: %d %s", path, token, status, body)
			}
		}
	}
	status, body, header := get("/debug/mirrors", "admin-token")
	if lines := strings.Split(strings.TrimSpace(body), "\n"); status != 200 || len(lines) != debugRows+2 || !strings.HasPrefix(lines[0], "LINK") || !strings.HasPrefix(lines[debugRows+1], "and 100 more") {
		t.Errorf("%d, %d lines, the last %q", status, len(lines), lines[len(lines)-1])
	}
	if header.Get("Content-Type") != "text/plain; charset=utf-8" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("names of topics may be taken for HTML: %v", header)
	}
	_, body, _ = get("/debug/mirrors?stalled=true", "admin-token")
	if !strings.Contains(body, "payments") || !strings.Contains(body, "no leader") || strings.Contains(body, "orders") || strings.Count(body, "\n") != 2 {
		t.Errorf("stalled ones: %s", body)
	}
	_, body, _ = get("/debug/mirrors?topic=orders&link=east-west", "admin-token")
	row := strings.Fields(strings.Split(body, "\n")[1])
	if want := "east-west orders 0 ACTIVE 42 50 8 0.0 0 3 0 7 0 0 4096 never"; strings.Join(row, " ") != want {
		t.Errorf("row %q, want %q", row, want)
	}
	if status, _, _ = get("/debug/mirrors?stalled=perhaps", "admin-token"); status != 400 {
		t.Errorf("a mistyped query: %d", status)
	}
}
