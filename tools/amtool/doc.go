//go:build tools

// Package amtool pins the amtool that checks Alertmanager's routes when none is on the PATH; it has no code. Build it here
// with `go build -ldflags="-s -w" -o amtool github.com/prometheus/alertmanager/cmd/amtool`.
package amtool
