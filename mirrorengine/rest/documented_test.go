package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// strict is the document's router, with every object closed: a client must let
// fields pass that it does not know, a test must not.
var strict = sync.OnceValues(func() (routers.Router, error) {
	for _, text := range []string{"text/html", "application/openmetrics-text"} {
		openapi3filter.RegisterBodyDecoder(text, openapi3filter.FileBodyDecoder)
	}
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	for name, ref := range doc.Components.Schemas {
		if !strings.HasSuffix(name, "Request") { // what a request may say is the document's own affair
			ref.Value.WithoutAdditionalProperties()
		}
	}
	for _, ref := range doc.Components.Responses {
		ref.Value.Content.Get("application/json").Schema.Value.WithoutAdditionalProperties()
	}
	return gorillamux.NewRouter(doc)
})

// succeeded are the calls (operation ids) that documented saw succeed.
var succeeded sync.Map

// documented holds each call that passes through against the document: what was
// answered in any case, what was asked if the engine took it.
func documented(t *testing.T, next http.Handler) http.Handler {
	t.Helper()
	router, err := strict()
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.Clone(r.Context())
		var sent bytes.Buffer
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &sent), r.Body}
		got := &overheard{ResponseWriter: w, status: http.StatusOK, header: w.Header()}
		next.ServeHTTP(got, r)
		if err := holds(router, asked, sent.Bytes(), got); err != "" {
			t.Errorf("%s %s answered %d %.300s\n%s", r.Method, r.URL, got.status, got.body.String(), err)
		}
	})
}

// overheard is an answer on its way.
type overheard struct {
	http.ResponseWriter
	header http.Header
	status int
	body   bytes.Buffer
}

func (o *overheard) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

func (o *overheard) Write(b []byte) (int, error) {
	o.body.Write(b)
	return o.ResponseWriter.Write(b)
}

func (o *overheard) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// holds tells what of a call the document does not say, empty if nothing.
func holds(router routers.Router, r *http.Request, body []byte, got *overheard) string {
	route, params, err := router.FindRoute(r)
	if err != nil && strings.HasPrefix(r.URL.Path, api.PathDebug+"pprof/") {
		r.URL.Path = api.PathDebug + "pprof/" // Go's own, which has more pages than we list
		route, params, err = router.FindRoute(r)
	}
	if err != nil {
		return unknown(got)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, QueryParams: r.URL.Query(), Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, RejectWhenRequestBodyNotSpecified: true,
			IncludeResponseStatus: true, MultiError: true, SkipSettingDefaults: true,
		},
	}
	ctx := context.Background()
	if got.status < http.StatusBadRequest {
		for name, values := range input.QueryParams {
			p := route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name)
			if p == nil {
				return "the document has no query parameter " + name
			}
			if len(p.Schema.Value.Enum) > 0 { // lower case is taken too
				values[0] = strings.ToUpper(values[0])
			}
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if len(body) == 0 {
			r.Body = http.NoBody
		} else {
			r.Header.Set("Content-Type", "application/json") // the engine takes JSON for what it is
		}
		if err := openapi3filter.ValidateRequest(ctx, input); err != nil {
			return "the document refuses what the engine took: " + err.Error()
		}
	}
	answer := route.Operation.Responses.Status(got.status)
	if answer != nil && len(answer.Value.Content) == 0 && got.body.Len() > 0 {
		return "the document has no body here"
	}
	err = openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: got.status, Header: got.header,
		Body: io.NopCloser(bytes.NewReader(got.body.Bytes())), Options: input.Options,
	})
	if err != nil {
		return "the document does not know this answer: " + err.Error()
	}
	if got.status < http.StatusBadRequest {
		succeeded.Store(route.Operation.OperationID, true)
	}
	return ""
}

// unknown holds the answer to a call that the document does not have: a refusal
// with the contract's body.
func unknown(got *overheard) string {
	var e struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	dec := json.NewDecoder(&got.body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || got.status < http.StatusBadRequest || e.Message == "" {
		return "the document has no such call, and it was not refused as one"
	}
	return ""
}
