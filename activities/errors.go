package activities

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	consul "github.com/hashicorp/consul/api"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/activities/kube"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
)

// refuse is an answer that another try cannot change.
func refuse(errType, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), errType, nil)
}

// notYet is worth another try: it acted, and the second look did not show it.
func notYet(format string, args ...any) error {
	return temporal.NewApplicationError(fmt.Sprintf(format, args...), workflows.ErrNotYet)
}

// settle turns the error of a step into the application error that the
// workflow sees: its type and whether another try can help.
func settle(err error) error {
	var app *temporal.ApplicationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &app), errors.Is(err, context.Canceled):
		return err
	}
	kind, again := judge(err)
	if again {
		return temporal.NewApplicationError(err.Error(), kind)
	}
	return temporal.NewNonRetryableApplicationError(err.Error(), kind, nil)
}

// retryable tells whether another try can help.
func retryable(err error) bool {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return !app.NonRetryable()
	}
	_, again := judge(err)
	return again
}

// judge is the one place that decides. What is not known is taken for a part
// that did not answer: more tries end with the step's own bound.
func judge(err error) (kind string, again bool) {
	var (
		engine *api.Error
		status consul.StatusError
		kafka  *kerr.Error
		cert   *x509.UnknownAuthorityError
		secret *secretError
	)
	switch {
	case errors.As(err, &secret), errors.As(err, &cert):
		return workflows.ErrRefused, false
	case errors.As(err, &engine):
		return judgeEngine(engine)
	case errors.As(err, &status):
		if status.Code >= http.StatusInternalServerError || status.Code == http.StatusTooManyRequests {
			return workflows.ErrUnreachable, true
		}
		return workflows.ErrRefused, false
	case errors.As(err, &kafka):
		return judgeKafka(kafka)
	}
	return judgeKubernetes(err)
}

// judgeKubernetes: what a person must allow, deploy or correct gets the same answer
// next time.
func judgeKubernetes(err error) (string, bool) {
	var newer *kube.Newer
	switch {
	case errors.As(err, &newer):
		return workflows.ErrEpochConflict, false
	case kube.Final(err):
		return workflows.ErrRefused, false
	}
	return workflows.ErrUnreachable, true
}

func judgeEngine(e *api.Error) (string, bool) {
	switch e.Status {
	case http.StatusConflict:
		return workflows.ErrStaleOperation, false
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return workflows.ErrUnreachable, true
	}
	if e.Status >= http.StatusInternalServerError {
		return workflows.ErrUnreachable, true
	}
	return workflows.ErrRefused, false
}

// judgeKafka follows Kafka's own flag, but for logins: a wrong password gets
// the same answer next time, and may lock the account.
func judgeKafka(e *kerr.Error) (string, bool) {
	switch {
	case errors.Is(e, kerr.SaslAuthenticationFailed):
		return workflows.ErrRefused, false
	case e.Retriable, errors.Is(e, kerr.ConcurrentTransactions):
		return workflows.ErrUnreachable, true
	}
	return workflows.ErrRefused, false
}

// gone: the engine does not know the thing.
func gone(err error) bool { return errors.Is(err, api.ErrNotFound) }
