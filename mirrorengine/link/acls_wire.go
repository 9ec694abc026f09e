package link

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

// What the ACL requests need, in the words of api.ACLEntry.

const (
	resourceTopic        = "TOPIC"
	resourceGroup        = "GROUP"
	resourceTransactions = "TRANSACTIONAL_ID"
	resourceCluster      = "CLUSTER"
	patternPlain         = "LITERAL"
	patternPrefix        = "PREFIXED"
	opRead               = "READ"
	opWrite              = "WRITE"
	opDescribe           = "DESCRIBE"
	opDescribeConfigs    = "DESCRIBE_CONFIGS"
	opAlterConfigs       = "ALTER_CONFIGS"
	opAll                = "ALL"
	deny                 = "DENY"
	allow                = "ALLOW"
	everybody            = "User:*"
	anyHost              = "*"
)

// denial is the entry that refuses an operation on one topic to a principal,
// from any host.
func denial(principal, topic, operation string) api.ACLEntry {
	return api.ACLEntry{
		Principal: principal, Host: anyHost, ResourceType: resourceTopic, ResourceName: topic,
		PatternType: patternPlain, Operation: operation, Permission: deny,
	}
}

// concerns tells whether a topic entry's resource pattern covers a topic.
func concerns(e api.ACLEntry, topic string) bool {
	return e.ResourceType == resourceTopic && covers(e, topic)
}

// covers tells whether an entry's resource pattern covers a name of its kind.
func covers(e api.ACLEntry, name string) bool {
	if e.PatternType == patternPrefix {
		return strings.HasPrefix(name, e.ResourceName)
	}
	return e.ResourceName == name || e.ResourceName == "*"
}

// grantsWrite tells whether an entry lets somebody write.
func grantsWrite(e api.ACLEntry) bool {
	return e.Permission == allow && (e.Operation == opWrite || e.Operation == opAll)
}

// topicACLs lists the entries of all topics as one broker has them in force
// (the broker's own authorizer answers, so it also tells whether a new entry
// has come to it).
func (m *Manager) topicACLs(ctx context.Context, broker int32) ([]api.ACLEntry, error) {
	return listACLs(ctx, m.local, broker, kmsg.ACLResourceTypeTopic)
}

// listACLs lists the entries of one kind of resource, or of any, at one broker
// (anyBroker: at whichever answers).
func listACLs(ctx context.Context, c *cluster, broker int32, kind kmsg.ACLResourceType) ([]api.ACLEntry, error) {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType = kind
	req.ResourcePatternType = kmsg.ACLResourcePatternTypeAny
	req.Operation = kmsg.ACLOperationAny
	req.PermissionType = kmsg.ACLPermissionTypeAny
	ask := func() (*kmsg.DescribeACLsResponse, error) {
		return request[*kmsg.DescribeACLsResponse](ctx, c, broker, req)
	}
	if broker == anyBroker {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		ask = func() (*kmsg.DescribeACLsResponse, error) {
			return await(ctx, func() (*kmsg.DescribeACLsResponse, error) { return req.RequestWith(ctx, c.client) })
		}
	}
	res, err := ask()
	if err == nil {
		err = kafkaError(res.ErrorCode, res.ErrorMessage)
	}
	if err != nil {
		return nil, fmt.Errorf("list the ACL entries%s: %w", at(broker), err)
	}
	var out []api.ACLEntry
	for _, r := range res.Resources {
		for _, a := range r.ACLs {
			out = append(out, api.ACLEntry{
				Principal: a.Principal, Host: a.Host, ResourceType: r.ResourceType.String(), ResourceName: r.ResourceName,
				PatternType: r.ResourcePatternType.String(), Operation: a.Operation.String(), Permission: a.PermissionType.String(),
			})
		}
	}
	return out, nil
}

const anyBroker = int32(-1)

func at(broker int32) string {
	if broker == anyBroker {
		return ""
	}
	return fmt.Sprintf(" at broker %d", broker)
}

// createACLs makes entries; one that stands already is no error.
func (m *Manager) createACLs(ctx context.Context, entries []api.ACLEntry) error {
	bad, err := m.tryACLs(ctx, entries)
	for _, e := range entries {
		err = errors.Join(err, bad[e])
	}
	return err
}

// tryACLs makes entries by one request and answers with those that the cluster
// refused. An error means that nothing is known of any.
func (m *Manager) tryACLs(ctx context.Context, entries []api.ACLEntry) (map[api.ACLEntry]error, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, e := range entries {
		c := kmsg.NewCreateACLsRequestCreation()
		w, err := wireOf(e)
		if err != nil {
			return nil, err
		}
		c.ResourceType, c.ResourceName, c.ResourcePatternType = w.resource, e.ResourceName, w.pattern
		c.Principal, c.Host, c.Operation, c.PermissionType = e.Principal, e.Host, w.operation, w.permission
		req.Creations = append(req.Creations, c)
	}
	res, err := req.RequestWith(ctx, m.local.client)
	if err != nil {
		return nil, fmt.Errorf("create ACL entries: %w", err)
	}
	bad := map[api.ACLEntry]error{}
	for i, r := range res.Results {
		if err := kafkaError(r.ErrorCode, r.ErrorMessage); err != nil && i < len(entries) {
			bad[entries[i]] = fmt.Errorf("create ACL entry %s: %w", describeACL(entries[i]), err)
		}
	}
	return bad, nil
}

// deleteACLs removes exactly these entries by one request. It answers with the
// entries that could not be removed; one that is gone already is no error.
func (m *Manager) deleteACLs(ctx context.Context, entries []api.ACLEntry) (map[api.ACLEntry]error, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, e := range entries {
		w, err := wireOf(e)
		if err != nil {
			return nil, err
		}
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType = w.resource, kmsg.StringPtr(e.ResourceName), w.pattern
		f.Principal, f.Host, f.Operation, f.PermissionType = kmsg.StringPtr(e.Principal), kmsg.StringPtr(e.Host), w.operation, w.permission
		req.Filters = append(req.Filters, f)
	}
	res, err := req.RequestWith(ctx, m.local.client)
	if err != nil {
		return nil, fmt.Errorf("delete ACL entries: %w", err)
	}
	bad := map[api.ACLEntry]error{}
	for i, r := range res.Results {
		if err := kafkaError(r.ErrorCode, r.ErrorMessage); err != nil && i < len(entries) {
			bad[entries[i]] = fmt.Errorf("delete ACL entry %s: %w", describeACL(entries[i]), err)
		}
	}
	return bad, nil
}

// aclWords are an entry's enums on the wire.
type aclWords struct {
	resource   kmsg.ACLResourceType
	pattern    kmsg.ACLResourcePatternType
	operation  kmsg.ACLOperation
	permission kmsg.ACLPermissionType
}

func wireOf(e api.ACLEntry) (aclWords, error) {
	var w aclWords
	var errs [4]error
	w.resource, errs[0] = kmsg.ParseACLResourceType(e.ResourceType)
	w.pattern, errs[1] = kmsg.ParseACLResourcePatternType(e.PatternType)
	w.operation, errs[2] = kmsg.ParseACLOperation(e.Operation)
	w.permission, errs[3] = kmsg.ParseACLPermissionType(e.Permission)
	if err := errors.Join(errs[:]...); err != nil {
		return w, fmt.Errorf("ACL entry %s: %w", describeACL(e), err)
	}
	return w, nil
}

// describeACL is an entry for people.
func describeACL(e api.ACLEntry) string {
	return fmt.Sprintf("%s %s on %s %s %s for %s from %s", e.Permission, e.Operation, e.PatternType, e.ResourceType, e.ResourceName, e.Principal, e.Host)
}

func kafkaError(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err != nil && message != nil && *message != "" {
		return fmt.Errorf("%w (%s)", err, *message)
	}
	return err
}

// brokerIDs are the local cluster's brokers that are up.
func (m *Manager) brokerIDs(ctx context.Context) ([]int32, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	meta, err := m.local.adm.BrokerMetadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("brokers of the local cluster: %w", err)
	}
	ids := meta.Brokers.NodeIDs()
	if len(ids) == 0 {
		return nil, errors.New("the local cluster names no broker")
	}
	slices.Sort(ids)
	return ids, nil
}
