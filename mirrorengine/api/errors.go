package api

import (
	"fmt"
	"net/http"
)

// Error codes of the error body. Three digits repeat the HTTP status; five
// digits are the contract's finer ones.
const (
	CodeMalformed        = 400   // the request could not be read
	CodeNotFound         = 404   // cluster, link, mirror, config or path
	CodeMethodNotAllowed = 405   // the path exists, not with this method
	CodeTimeout          = 408   // Kafka did not answer in time
	CodeConflict         = 409   // a lock or a newer operation holds it
	CodeTooLarge         = 413   // body over the limit
	CodeInternal         = 500   // a fault of the engine itself
	CodeBadRequest       = 40002 // understood, and refused
	CodeUnsupported      = 40035 // the brokers are too old for it
	CodeUnauthorized     = 40101 // no token or a wrong one
	CodeForbidden        = 40301 // the token or the principal may not
	CodeTopicNotFound    = 40401 // a topic that a group does not read
	CodePartitionMissing = 40402 // a partition that a topic does not have
	CodeNotHosted        = 40403 // a topic that the cluster does not have
	CodeThrottled        = 42901
	CodeKafka            = 50002 // Kafka answered with an error
	CodeKafkaRetriable   = 50003 // the same, worth another try
	CodeUnavailable      = 50302 // broker not available, or the engine is not ready
)

// Error is the error body of every endpoint, {"error_code", "message"}, with
// the HTTP status that carries it. The engine's packages return it where they
// know what the caller did wrong; the client gives it back.
//
// errors.Is compares by what the target has set: ErrNotFound matches every 404,
// LinkNotFound() only its own text.
type Error struct {
	Status    int    `json:"-"`
	ErrorCode int    `json:"error_code"`
	Message   string `json:"message"`
}

// Targets for errors.Is, by HTTP status.
var (
	ErrBadRequest   = &Error{Status: http.StatusBadRequest}
	ErrUnauthorized = &Error{Status: http.StatusUnauthorized}
	ErrForbidden    = &Error{Status: http.StatusForbidden}
	ErrNotFound     = &Error{Status: http.StatusNotFound}
	ErrTimeout      = &Error{Status: http.StatusRequestTimeout}
	ErrConflict     = &Error{Status: http.StatusConflict}
	ErrInternal     = &Error{Status: http.StatusInternalServerError}
	ErrUnavailable  = &Error{Status: http.StatusServiceUnavailable}
)

// Error is the message with both codes.
func (e *Error) Error() string {
	if e.ErrorCode == 0 || e.ErrorCode == e.Status {
		return fmt.Sprintf("%s (%d)", e.Message, e.Status)
	}
	return fmt.Sprintf("%s (%d, error code %d)", e.Message, e.Status, e.ErrorCode)
}

// Is matches another *Error in every field that the target has set.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	if !ok {
		return false
	}
	return (t.Status == 0 || t.Status == e.Status) &&
		(t.ErrorCode == 0 || t.ErrorCode == e.ErrorCode) &&
		(t.Message == "" || t.Message == e.Message)
}

func newError(status, code int, format string, args ...any) *Error {
	return &Error{Status: status, ErrorCode: code, Message: fmt.Sprintf(format, args...)}
}

// NotFound is a 404 for what has no text of its own in the contract.
func NotFound(format string, args ...any) *Error {
	return newError(http.StatusNotFound, CodeNotFound, format, args...)
}

// ClusterNotFound is the contract's answer to a foreign {cluster_id}.
func ClusterNotFound(id string) *Error { return NotFound("Cluster %s cannot be found.", id) }

// LinkNotFound is the contract's answer to an unknown link.
func LinkNotFound() *Error { return NotFound("The cluster link doesn't exist.") }

// MirrorNotFound answers for a topic that is no mirror of the link. The
// contract has no text for it; clients look at the status.
func MirrorNotFound(link, topic string) *Error {
	return NotFound("Topic '%s' is not a mirror topic of cluster link '%s'.", topic, link)
}

// ConfigNotFound answers for an unknown link config. The contract has no text.
func ConfigNotFound(link, name string) *Error {
	return NotFound("Cluster link '%s' has no config '%s'.", link, name)
}

// PartitionNotFound answers for a partition that the topic, or what a group reads
// of it, does not have.
func PartitionNotFound(topic string, partition int32) *Error {
	return newError(http.StatusNotFound, CodePartitionMissing, "Topic '%s' has no partition %d here.", topic, partition)
}

// Malformed is a request that cannot be read: JSON, query, path (400, 400).
func Malformed(format string, args ...any) *Error {
	return newError(http.StatusBadRequest, CodeMalformed, format, args...)
}

// BadRequest is a request that was read and is refused (400, 40002).
func BadRequest(format string, args ...any) *Error {
	return newError(http.StatusBadRequest, CodeBadRequest, format, args...)
}

// InvalidLinkName is the contract's text for a link name that cannot be.
func InvalidLinkName() *Error { return BadRequest("Invalid Cluster Link Name.") }

// InvalidConfigName is the contract's text for an unknown config in a request.
func InvalidConfigName() *Error { return BadRequest("Invalid Config Name.") }

// LinkExists is the contract's text for a name that is taken. The contract
// binds no status to it; 400 is what its clients take for "refused".
func LinkExists() *Error {
	return BadRequest("A cluster link already exists with the provided link name")
}

// Unauthorized is a missing or wrong token.
func Unauthorized() *Error {
	return newError(http.StatusUnauthorized, CodeUnauthorized, "Authentication failed")
}

// Forbidden says what the caller, or the engine's principal, may not do.
func Forbidden(format string, args ...any) *Error {
	return newError(http.StatusForbidden, CodeForbidden, format, args...)
}

// Conflict is a lock that is held, an epoch that is too low or an operation
// that was revoked; the message names the holder.
func Conflict(format string, args ...any) *Error {
	return newError(http.StatusConflict, CodeConflict, format, args...)
}

// Timeout is a call to Kafka that got no answer in time; its outcome may be
// unknown.
func Timeout(format string, args ...any) *Error {
	return newError(http.StatusRequestTimeout, CodeTimeout, format, args...)
}

// Unavailable is a cluster that does not answer, or an engine that is not ready.
func Unavailable(format string, args ...any) *Error {
	return newError(http.StatusServiceUnavailable, CodeUnavailable, format, args...)
}

// Internal is a fault of the engine, or of Kafka in a way that the caller
// cannot mend.
func Internal(format string, args ...any) *Error {
	return newError(http.StatusInternalServerError, CodeInternal, format, args...)
}

// Refuse records err as the result's error: its own code if it is an *Error,
// else the contract's plain 400.
func (r *AlterMirrorResult) Refuse(err error) {
	code, message := CodeMalformed, err.Error()
	if e, ok := asError(err); ok {
		code, message = e.ErrorCode, e.Message
	}
	r.ErrorCode, r.ErrorMessage = &code, &message
}

// Err is the topic's own error, nil if it was accepted. Null and 0 both mean
// success to the contract's clients.
func (r AlterMirrorResult) Err() error {
	if r.ErrorCode == nil || *r.ErrorCode == 0 {
		return nil
	}
	e := &Error{Status: statusOf(*r.ErrorCode), ErrorCode: *r.ErrorCode}
	if r.ErrorMessage != nil {
		e.Message = *r.ErrorMessage
	}
	return fmt.Errorf("mirror topic %s: %w", r.MirrorTopicName, e)
}

// statusOf is the HTTP status that an error code belongs to.
func statusOf(code int) int {
	for code >= 1000 {
		code /= 10
	}
	return code
}
