package rest

import (
	_ "embed"
	"net/http"
)

// document describes every call of this API (OpenAPI 3.0). It is written by
// go test -rewrite from the routes and the types of package api, and kept true by
// the package's tests.
//
//go:embed openapi.json
var document []byte

func openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(document) // the caller is gone if this fails
}
