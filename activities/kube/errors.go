package kube

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	authentication "k8s.io/api/authentication/v1"
)

// ConfigError is a kubeconfig or service account that cannot be used.
type ConfigError struct {
	Where string
	Err   error
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("kubernetes, %s: %v; see groups[].kubernetes of the plan", e.Where, e.Err)
}

func (e *ConfigError) Unwrap() error { return e.Err }

// Forbidden is a right that the worker lacks, with what gives it.
type Forbidden struct{ text string }

func (e *Forbidden) Error() string { return e.text }

// Missing is a workload or ConfigMap that is not there.
type Missing struct{ text string }

func (e *Missing) Error() string { return e.text }

// Newer is a ConfigMap that a later move has written.
type Newer struct{ text string }

func (e *Newer) Error() string { return e.text }

// Final tells whether another try cannot help: a person must allow, deploy or correct
// something.
func Final(err error) bool {
	return errors.As(err, new(*ConfigError)) || errors.As(err, new(*Forbidden)) || errors.As(err, new(*Missing)) ||
		apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

func isConflict(err error) bool { return err != nil && apierrors.IsConflict(err) }

// explain turns an API server's refusal into words for whoever must mend it.
func (n *Namespace) explain(err error, verb, kind, name string) error {
	what := kind + "s"
	if name != "" {
		what = kind + "/" + name
	}
	switch {
	case apierrors.IsForbidden(err):
		return &Forbidden{fmt.Sprintf("%s may not %s %s in %s: nothing more was done there; give the right: %s", n.me(), verb, what, n.place.Where(), n.cure())}
	case apierrors.IsNotFound(err) && kind == "configmap":
		return &Missing{fmt.Sprintf("there is no ConfigMap %s in %s: %s create configmap %[1]s", name, n.place.Where(), n.place.Kubectl())}
	case apierrors.IsNotFound(err):
		return &Missing{fmt.Sprintf("there is no %s in %s: correct groups[].kubernetes[].workloads of the plan, or deploy it", what, n.place.Where())}
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("kubernetes does not know the worker in %s (its token or certificate is wrong or has expired): %w", n.place.Where(), err)
	}
	return fmt.Errorf("kubernetes: %s %s in %s: %w", verb, what, n.place.Where(), err)
}

// me is how the API server calls the worker, as far as it says so.
func (n *Namespace) me() string {
	if u := n.user(); u != "" {
		return u
	}
	return "the worker"
}

func (n *Namespace) user() string {
	// Its own time: the call that was refused may have used up the step's.
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	got, err := n.who.SelfSubjectReviews().Create(ctx, &authentication.SelfSubjectReview{}, meta.CreateOptions{})
	if err != nil {
		return ""
	}
	return got.Status.UserInfo.Username
}
