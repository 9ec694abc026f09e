package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// maxBody bounds a request's body, in bytes. The largest is a rejoin with the
// segments of all topics.
const maxBody = 32 << 20

// decode reads a contract body. Fields that we do not know are let pass, since
// newer clients send more.
func decode(r *request, into any) error { return decodeBody(r, into, false) }

// decodeStrict reads a body of our own; a field that we do not know is a
// mistake, or means more than we would do.
func decodeStrict(r *request, into any) error { return decodeBody(r, into, true) }

func decodeBody(r *request, into any, strict bool) error {
	dec := json.NewDecoder(r.Body)
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(into); err != nil {
		return readable(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return api.Malformed("The request's body goes on after its JSON value.")
	}
	return nil
}

// readable turns a decoder's error into the contract's, without Go's names and
// without the value, which may be a secret.
func readable(err error) error {
	var (
		syntax *json.SyntaxError
		kind   *json.UnmarshalTypeError
		size   *http.MaxBytesError
	)
	switch {
	case errors.As(err, &size):
		return &api.Error{
			Status: http.StatusRequestEntityTooLarge, ErrorCode: api.CodeTooLarge,
			Message: fmt.Sprintf("The request's body is larger than %d bytes.", size.Limit),
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &api.Error{
			Status: http.StatusRequestTimeout, ErrorCode: http.StatusRequestTimeout,
			Message: "The request's body did not come in time; nothing was done.",
		}
	case errors.Is(err, io.EOF):
		return api.Malformed("The request has no body; a JSON object is wanted.")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return api.Malformed("Malformed JSON: the body ends too early.")
	case errors.As(err, &syntax):
		return api.Malformed("Malformed JSON at byte %d.", syntax.Offset)
	case errors.As(err, &kind):
		got, _, _ := strings.Cut(kind.Value, " ")
		return api.Malformed("Field '%s' cannot be a %s, or is out of range.", kind.Field, got)
	default:
		return api.Malformed("Malformed JSON: %s.", strings.TrimPrefix(err.Error(), "json: "))
	}
}

// boolean reads a boolean query parameter.
func boolean(r *request, name string, byDefault bool) (bool, error) {
	q := r.URL.Query()
	if !q.Has(name) {
		return byDefault, nil
	}
	on, err := strconv.ParseBool(q.Get(name))
	if err != nil {
		return false, api.Malformed("Query parameter '%s' must be true or false, not '%s'.", name, q.Get(name))
	}
	return on, nil
}

// mirrorStatus reads the status filter. Its values are compared in upper case:
// the contract's tools upper-case what the user typed, people do not.
func mirrorStatus(r *request) (string, error) {
	q := r.URL.Query()
	if !q.Has(api.QueryMirrorStatus) {
		return "", nil
	}
	status := strings.ToUpper(q.Get(api.QueryMirrorStatus))
	if !slices.Contains(api.MirrorStatuses(), status) {
		return "", api.Malformed("Unknown mirror status '%s'. Known are %s.",
			q.Get(api.QueryMirrorStatus), strings.Join(api.MirrorStatuses(), ", "))
	}
	return status, nil
}

// withOperation reads the calling operation from the headers; both or none.
func withOperation(r *http.Request) (context.Context, error) {
	id, epoch := r.Header.Get(api.HeaderOperation), r.Header.Get(api.HeaderEpoch)
	if id == "" && epoch == "" {
		return r.Context(), nil
	}
	n, err := strconv.ParseInt(epoch, 10, 64)
	if id == "" || err != nil || n < 0 {
		return nil, api.Malformed("Headers %s and %s go together; the epoch is a whole number from 0.",
			api.HeaderOperation, api.HeaderEpoch)
	}
	return api.WithOperation(r.Context(), api.Operation{OperationID: id, Epoch: n}), nil
}

// validName tells whether a link may have this name: what a topic may be
// called, since names go into paths and state keys; "-" means all links.
func validName(name string) bool {
	if name == "" || len(name) > 249 || name == api.AllLinks || name == "." || name == ".." {
		return false
	}
	for _, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
