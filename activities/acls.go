package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// ACL entries in the words of api.ACLEntry.
const (
	onTopic   = "TOPIC"
	onGroup   = "GROUP"
	literal   = "LITERAL"
	prefixed  = "PREFIXED"
	opWrite   = "WRITE"
	opRead    = "READ"
	opAll     = "ALL"
	deny      = "DENY"
	allow     = "ALLOW"
	everybody = "User:*"
)

// denial is DENY op on one topic or group for one principal from any host.
func denial(principal, resource, name, op string) api.ACLEntry {
	return api.ACLEntry{
		Principal: principal, Host: "*", ResourceType: resource, ResourceName: name,
		PatternType: literal, Operation: op, Permission: deny,
	}
}

// grants tells whether an entry allows op on the named topic or group.
func grants(e api.ACLEntry, resource, name, op string) bool {
	if e.Permission != allow || e.ResourceType != resource || e.Operation != op && e.Operation != opAll {
		return false
	}
	if e.PatternType == prefixed {
		return strings.HasPrefix(name, e.ResourceName)
	}
	return e.ResourceName == name || e.ResourceName == "*"
}

// acls lists the entries of one resource type as one broker has them in force:
// its own authorizer answers, so that it also tells whether a change has come
// to that broker.
func (k *kafka) acls(ctx context.Context, broker int32, resource string) ([]api.ACLEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := kmsg.NewPtrDescribeACLsRequest()
	kind, err := kmsg.ParseACLResourceType(resource)
	if err != nil {
		return nil, err
	}
	req.ResourceType = kind
	req.ResourcePatternType = kmsg.ACLResourcePatternTypeAny
	req.Operation = kmsg.ACLOperationAny
	req.PermissionType = kmsg.ACLPermissionTypeAny
	res, err := k.client.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("ACL entries at broker %d of site %s: %w", broker, k.site, err)
	}
	got := res.(*kmsg.DescribeACLsResponse)
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return nil, fmt.Errorf("ACL entries at broker %d of site %s: %w", broker, k.site, err)
	}
	var out []api.ACLEntry
	for _, r := range got.Resources {
		for _, e := range r.ACLs {
			out = append(out, api.ACLEntry{
				Principal: e.Principal, Host: e.Host, ResourceType: r.ResourceType.String(), ResourceName: r.ResourceName,
				PatternType: r.ResourcePatternType.String(), Operation: e.Operation.String(), Permission: e.PermissionType.String(),
			})
		}
	}
	return out, nil
}

// words are an entry's enums on the wire.
func words(e api.ACLEntry) (r kmsg.ACLResourceType, p kmsg.ACLResourcePatternType, o kmsg.ACLOperation, m kmsg.ACLPermissionType, err error) {
	var errs [4]error
	r, errs[0] = kmsg.ParseACLResourceType(e.ResourceType)
	p, errs[1] = kmsg.ParseACLResourcePatternType(e.PatternType)
	o, errs[2] = kmsg.ParseACLOperation(e.Operation)
	m, errs[3] = kmsg.ParseACLPermissionType(e.Permission)
	return r, p, o, m, errors.Join(errs[:]...)
}

func describeACL(e api.ACLEntry) string {
	return fmt.Sprintf("%s %s on %s %s %s for %s from %s", e.Permission, e.Operation, e.PatternType, e.ResourceType, e.ResourceName, e.Principal, e.Host)
}

// createACLs makes entries; one that stands already is no error.
func (k *kafka) createACLs(ctx context.Context, entries []api.ACLEntry) error {
	if len(entries) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, e := range entries {
		c := kmsg.NewCreateACLsRequestCreation()
		var err error
		if c.ResourceType, c.ResourcePatternType, c.Operation, c.PermissionType, err = words(e); err != nil {
			return fmt.Errorf("ACL entry %s: %w", describeACL(e), err)
		}
		c.ResourceName, c.Principal, c.Host = e.ResourceName, e.Principal, e.Host
		req.Creations = append(req.Creations, c)
	}
	res, err := req.RequestWith(ctx, k.client)
	if err != nil {
		return fmt.Errorf("create ACL entries at site %s: %w", k.site, err)
	}
	var errs []error
	for i, r := range res.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil && i < len(entries) {
			errs = append(errs, fmt.Errorf("create ACL entry %s at site %s: %w", describeACL(entries[i]), k.site, err))
		}
	}
	return errors.Join(errs...)
}

// deleteACLs removes exactly these entries; one that is gone is no error.
func (k *kafka) deleteACLs(ctx context.Context, entries []api.ACLEntry) error {
	if len(entries) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, e := range entries {
		f := kmsg.NewDeleteACLsRequestFilter()
		var err error
		if f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType, err = words(e); err != nil {
			return fmt.Errorf("ACL entry %s: %w", describeACL(e), err)
		}
		f.ResourceName, f.Principal, f.Host = kmsg.StringPtr(e.ResourceName), kmsg.StringPtr(e.Principal), kmsg.StringPtr(e.Host)
		req.Filters = append(req.Filters, f)
	}
	res, err := req.RequestWith(ctx, k.client)
	if err != nil {
		return fmt.Errorf("delete ACL entries at site %s: %w", k.site, err)
	}
	var errs []error
	for i, r := range res.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil && i < len(entries) {
			errs = append(errs, fmt.Errorf("delete ACL entry %s at site %s: %w", describeACL(entries[i]), k.site, err))
		}
	}
	return errors.Join(errs...)
}

// awaitACLs waits until every broker has all entries, or none of them.
func (k *kafka) awaitACLs(ctx context.Context, entries []api.ACLEntry, present bool) error {
	resources := map[string]bool{}
	for _, e := range entries {
		resources[e.ResourceType] = true
	}
	var late string
	done, err := poll(ctx, settleACLs, func(ctx context.Context) (bool, error) {
		brokers, err := k.brokers(ctx)
		if err != nil {
			return false, err
		}
		for _, b := range brokers {
			for r := range resources {
				have, err := k.acls(ctx, b, r)
				if err != nil {
					return false, err
				}
				for _, e := range entries {
					if e.ResourceType == r && slices.Contains(have, e) != present {
						late = fmt.Sprintf("%s at broker %d", describeACL(e), b)
						return false, nil
					}
				}
			}
		}
		return true, nil
	})
	if err == nil && !done {
		want := map[bool]string{true: "does not stand yet", false: "still stands"}[present]
		err = notYet("site %s: %s %s after %s", k.site, late, want, settleACLs)
	}
	return err
}
