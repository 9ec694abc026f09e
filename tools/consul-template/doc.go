//go:build tools

// Package consultemplate pins the consul-template that tries the templates of deploy/clients when none is on the PATH; it has no
// code. Build it here with `go build -ldflags="-s -w" -o consul-template github.com/hashicorp/consul-template`.
package consultemplate
