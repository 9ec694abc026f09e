package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	authorization "k8s.io/api/authorization/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// right is a line of a Role: the least that a place's moves need.
type right struct {
	group, resource string
	verbs           []string
	names           []string // none: any
}

// rights of a place. A selector needs to list, and cannot be bound to names.
func rights(p runbook.Workloads) []right {
	var out []right
	names := map[string][]string{}
	for _, full := range p.Workloads {
		kind, name, _ := strings.Cut(full, "/")
		names[kind] = append(names[kind], name)
	}
	for _, kind := range []string{deployment, statefulSet} {
		switch {
		case p.Selector != "":
			out = append(out, right{"apps", kind + "s", []string{"get", "list", "patch"}, nil})
		case len(names[kind]) > 0:
			out = append(out, right{"apps", kind + "s", []string{"get", "patch"}, names[kind]})
		}
	}
	if p.Way == runbook.WayScale {
		out = append(out, right{"", "pods", []string{"list"}, nil})
	}
	if p.ConfigMap != "" {
		out = append(out, right{"", "configmaps", []string{"get", "patch"}, []string{p.ConfigMap}})
	}
	return out
}

// lacks asks the API server which of its rights the worker has not got.
func (n *Namespace) lacks(ctx context.Context) ([]string, error) {
	var out []string
	for _, r := range rights(n.place) {
		names := r.names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, verb := range r.verbs {
			for _, name := range names {
				ok, err := n.may(ctx, r, verb, name)
				if err != nil {
					return nil, err
				}
				if !ok {
					out = append(out, strings.TrimSuffix(verb+" "+r.resource+"/"+name, "/"))
				}
			}
		}
	}
	return out, nil
}

func (n *Namespace) may(ctx context.Context, r right, verb, name string) (bool, error) {
	ask := &authorization.SelfSubjectAccessReview{Spec: authorization.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorization.ResourceAttributes{Namespace: n.place.Namespace, Verb: verb, Group: r.group, Resource: r.resource, Name: name},
	}}
	got, err := n.can.SelfSubjectAccessReviews().Create(ctx, ask, meta.CreateOptions{})
	if err != nil {
		return false, n.explain(err, "create", "selfsubjectaccessreview", "")
	}
	return got.Status.Allowed, nil
}

// roleName is of the Role that cure makes, beside deploy/k8s/clients.
const roleName = "drawbridge-worker"

// cure is what gives the place's rights to the worker, to be typed as it stands.
func (n *Namespace) cure() string {
	var rules []string
	for _, r := range rights(n.place) {
		only := ""
		if len(r.names) > 0 {
			only = `, resourceNames: ["` + strings.Join(r.names, `", "`) + `"]` // quoted: off and no are names too
		}
		rules = append(rules, fmt.Sprintf("{apiGroups: [%q], resources: [%s]%s, verbs: [%s]}", r.group, r.resource, only, strings.Join(r.verbs, ", ")))
	}
	subject := "--serviceaccount=<namespace>:<name>"
	if user := n.user(); strings.HasPrefix(user, "system:serviceaccount:") {
		subject = "--serviceaccount=" + strings.TrimPrefix(user, "system:serviceaccount:")
	} else if user != "" {
		subject = "--user=" + user
	}
	return fmt.Sprintf("echo '{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: %s, namespace: %s}, rules: [%s]}' | %[4]s apply -f - ; %[4]s create rolebinding %[1]s --role=%[1]s %[5]s",
		roleName, n.place.Namespace, strings.Join(rules, ", "), n.place.Kubectl(), subject)
}

// Finding is what would go wrong with a place today.
type Finding struct {
	What, Cure string
	Blocker    bool // a move would stop there
}

// Check looks at rights, workloads and ConfigMap, and changes nothing. active is the
// site that the record sends clients to, "" if that is not known.
func (n *Namespace) Check(ctx context.Context, pair, active string) []Finding {
	const plan = "see groups[].kubernetes of the plan"
	lacks, err := n.lacks(ctx)
	if err != nil {
		return []Finding{{fmt.Sprintf("its API server cannot be asked: %v", err), plan, true}}
	}
	if len(lacks) > 0 {
		return []Finding{{fmt.Sprintf("in %s, %s may not %s", n.place.Where(), n.me(), strings.Join(lacks, ", ")), n.cure(), true}}
	}
	list, err := n.workloads(ctx)
	if err != nil {
		return []Finding{{err.Error(), plan, true}}
	}
	var out []Finding
	for _, w := range list {
		out = append(out, n.faults(w, active)...)
	}
	if name := n.place.ConfigMap; name != "" {
		there, err := n.core.ConfigMaps(n.place.Namespace).Get(ctx, name, meta.GetOptions{})
		if err != nil {
			err = n.explain(err, "get", "configmap", name)
		} else {
			err = n.foreign(name, there.Data, pair)
		}
		if err != nil {
			out = append(out, Finding{err.Error(), plan, errors.As(err, new(*Missing))})
		}
	}
	return out
}

func (n *Namespace) faults(w workload, active string) []Finding {
	var out []Finding
	where := n.place.Where()
	if n.place.Way == runbook.WayRollout && w.rollout.never != "" {
		out = append(out, Finding{w.name() + " in " + where + " cannot be restarted in place", w.rollout.never, true})
	}
	was, remembered := w.Annotations[Remembered]
	by := w.Annotations[StoppedBy]
	here := n.place.Site == "" || n.place.Site == active
	scale := fmt.Sprintf("%s scale %s --replicas=%s", n.place.Kubectl(), w.name(), was)
	switch {
	case w.replicas > 0:
		if active != "" && !here {
			out = append(out, Finding{
				fmt.Sprintf("%s in %s has %d replicas although %s is active: they read mirrors, may not write, and count as members of the group", w.name(), where, w.replicas, active),
				fmt.Sprintf("%s annotate --overwrite %s %s=%d && %[1]s scale %[2]s --replicas=0", n.place.Kubectl(), w.name(), Remembered, w.replicas), false,
			})
		}
	case n.place.Site != "" && !remembered:
		out = append(out, Finding{
			fmt.Sprintf("%s in %s stands at 0 and nobody wrote down how many it should be when %s is active", w.name(), where, n.place.Site),
			fmt.Sprintf("%s annotate %s %s=<n>", n.place.Kubectl(), w.name(), Remembered), true,
		})
	case here && by != "":
		out = append(out, Finding{fmt.Sprintf("%s in %s stands at 0 since %s stopped it", w.name(), where, by), "if that run is over: " + scale, true})
	case here && remembered && was != "0":
		out = append(out, Finding{fmt.Sprintf("%s in %s stands at 0 although its clients are to run now: %s is written on it", w.name(), where, was), "if nobody wants that: " + scale, false})
	}
	return out
}
