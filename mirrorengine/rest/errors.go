package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// toAPI is the one place where an error gets its HTTP status. Kafka's errors
// are mapped as Confluent's REST Proxy maps them.
func toAPI(err error) *api.Error {
	if err == nil {
		return nil
	}
	var (
		known *api.Error
		kafka *kerr.Error
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &kafka):
		return fromKafka(kafka, err)
	case errors.Is(err, context.DeadlineExceeded):
		return api.Timeout("%v", err)
	case errors.Is(err, context.Canceled):
		return api.Unavailable("The call was cut off, by its caller or because the engine stops: %v", err)
	default:
		return api.Internal("%v", err)
	}
}

func fromKafka(kafka *kerr.Error, err error) *api.Error {
	is := func(of ...*kerr.Error) bool { return slices.Contains(of, kafka) }
	switch {
	case is(kerr.TopicAlreadyExists, kerr.InvalidTopicException, kerr.InvalidConfig, kerr.InvalidRequest,
		kerr.InvalidPartitions, kerr.InvalidReplicationFactor, kerr.InvalidReplicaAssignment, kerr.PolicyViolation):
		return api.BadRequest("%v", err)
	case is(kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SecurityDisabled):
		return api.Forbidden("The engine's principal may not: %v", err)
	case is(kerr.UnknownTopicOrPartition, kerr.UnknownTopicID):
		return &api.Error{Status: http.StatusNotFound, ErrorCode: api.CodeNotHosted, Message: err.Error()}
	case is(kerr.UnsupportedVersion):
		return &api.Error{Status: http.StatusBadRequest, ErrorCode: api.CodeUnsupported, Message: err.Error()}
	case is(kerr.ThrottlingQuotaExceeded):
		return &api.Error{Status: http.StatusTooManyRequests, ErrorCode: api.CodeThrottled, Message: err.Error()}
	case is(kerr.BrokerNotAvailable, kerr.CoordinatorNotAvailable, kerr.LeaderNotAvailable):
		return api.Unavailable("%v", err)
	case is(kerr.RequestTimedOut):
		return api.Timeout("%v", err)
	case kafka.Retriable:
		return &api.Error{Status: http.StatusInternalServerError, ErrorCode: api.CodeKafkaRetriable, Message: err.Error()}
	default:
		return &api.Error{Status: http.StatusInternalServerError, ErrorCode: api.CodeKafka, Message: err.Error()}
	}
}

// writeError writes the error body. When an answer was begun already, it only
// spoils that answer's JSON, which is right: the caller must not trust it.
func writeError(w http.ResponseWriter, e *api.Error) {
	_ = writeJSON(w, e.Status, e) // the caller is gone if this fails; there is nobody to tell
}

func writeJSON(w http.ResponseWriter, status int, body any) error {
	b, err := json.Marshal(filled(body))
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err = w.Write(append(b, '\n'))
	if err != nil {
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return nil
}
