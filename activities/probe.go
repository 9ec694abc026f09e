package activities

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// probeMost is how much of a probe's answer is read.
const probeMost = 1 << 20

// probe asks a blackbox exporter, which dials the site from where it stands.
// Whatever is not its clear yes or no is not known: a proxy's error page is no
// outage.
func (a *Activities) probe(ctx context.Context, p runbook.Probe) runbook.Vantage {
	v := runbook.Vantage{From: "probe " + p.Name}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	up, err := a.blackbox(ctx, p.URL)
	if err != nil {
		v.Detail = err.Error()
		return v
	}
	v.Known, v.Reachable = true, up
	if up {
		v.LastContact = time.Now().UTC()
	}
	return v
}

func (a *Activities) blackbox(ctx context.Context, url string) (up bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false, err
	}
	// The exporter's own bound, so that its no comes before ours.
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprintf("%.1f", (reachTimeout-time.Second).Seconds()))
	res, err := a.http.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, probeMost))
	if err != nil {
		return false, err
	}
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("it answered %s", res.Status)
	}
	for line := range strings.Lines(string(body)) {
		switch strings.Join(strings.Fields(line), " ") {
		case "probe_success 1":
			return true, nil
		case "probe_success 0":
			return false, nil
		}
	}
	return false, fmt.Errorf("its answer has no probe_success: it must be a blackbox exporter's /probe")
}
