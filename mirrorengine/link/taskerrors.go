package link

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// taskErrorCode is the contract's word for a task's error.
func taskErrorCode(err error) string {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return "AUTHORIZATION_ERROR"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "AUTHENTICATION_ERROR"
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "UNKNOWN_TOPIC_OR_PARTITION_ERROR"
	case errors.Is(err, kerr.InvalidConfig), errors.Is(err, kerr.PolicyViolation):
		return "POLICY_VIOLATION_ERROR"
	case errors.Is(err, kerr.SecurityDisabled):
		return "SECURITY_DISABLED_ERROR"
	}
	return "INTERNAL_ERROR"
}
