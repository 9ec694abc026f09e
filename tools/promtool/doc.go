//go:build tools

// Package promtool pins the promtool that checks rules when none is on the PATH; it has no code. Build it here with
// `go build -tags remove_all_sd -ldflags="-s -w" -o promtool github.com/prometheus/prometheus/cmd/promtool`.
package promtool
