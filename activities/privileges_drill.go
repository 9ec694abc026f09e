package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const (
	opCreate          = "CREATE"
	opDelete          = "DELETE"
	opDescribe        = "DESCRIBE"
	opDescribeConfigs = "DESCRIBE_CONFIGS"
	onCluster         = "CLUSTER"
	theCluster        = "kafka-cluster"
)

// drills looks at what the plan's drills need beyond what the pair does: a canary drill
// makes, fills, reads and deletes a topic and a group of its own at either site, mirrors
// it, and has the canary write there; a full drill fences. Nothing of that is tried: the
// entries are read. entries are those on topics, groups and the cluster.
func (c check) drills(ctx context.Context, k *kafka, in workflows.CheckPrivilegesInput, entries []api.ACLEntry) {
	has := func(kind string) bool {
		return slices.ContainsFunc(in.Drills, func(d runbook.DrillPlan) bool { return d.Kind == kind })
	}
	if has(runbook.DrillCanary) {
		topic, group := runbook.DrillTopic(in.Call.Pair), runbook.DrillGroup(in.Call.Pair)
		c.allowed(entries, "the worker's principal", principal(c.site.Kafka.Security), onTopic, topic, opCreate, opRead, opWrite, opDelete)
		c.allowed(entries, "the worker's principal", principal(c.site.Kafka.Security), onGroup, group, opRead, opDelete)
		if c.site.Canary != nil {
			c.allowed(entries, "the canary's principal", principal(*c.site.Canary), onTopic, topic, opWrite)
		}
		for _, other := range in.Sites { // whose engine reads here
			if other.Name == c.site.Name {
				continue
			}
			link := "the link's principal (engine.link_security of " + other.Name + ")"
			c.allowed(entries, link, principal(other.Engine.LinkSecurity), onTopic, topic, opRead, opDescribeConfigs)
			c.allowed(entries, link, principal(other.Engine.LinkSecurity), onGroup, group, opDescribe)
		}
	}
	if has(runbook.DrillFull) {
		c.alters(ctx, k)
	}
}

// allowed tells what of ops the entries do not allow whom. One whom no entry on topics
// names works by other means (a super user), and is left alone: the entries would not tell.
func (c check) allowed(entries []api.ACLEntry, who, whom, resource, name string, ops ...string) {
	if whom == "" || !slices.ContainsFunc(entries, func(e api.ACLEntry) bool {
		return e.Permission == allow && e.ResourceType == onTopic && e.Principal == whom
	}) {
		return
	}
	if lack := lacks(entries, whom, resource, name, ops...); len(lack) > 0 {
		c.find(false, fmt.Sprintf("allow %s, %s, %s on %s %s; deploy/kafka has the rights as files", who, whom, strings.Join(lack, ", "), resource, name),
			"a canary drill will fail: %s lacks %s on %s %s", who, strings.Join(lack, ", "), strings.ToLower(resource), name)
	}
}

// lacks are the operations on a resource that entries do not allow a principal, as an
// authorizer reads them: a DENY wins, what allows to read, write or delete allows to
// describe, and CREATE on the cluster is CREATE on every topic.
func lacks(entries []api.ACLEntry, whom, resource, name string, ops ...string) []string {
	var out []string
	for _, op := range ops {
		by := []string{op}
		if op == opDescribe {
			by = []string{opDescribe, opRead, opWrite, opDelete, "ALTER"}
		}
		allowed := slices.ContainsFunc(by, func(op string) bool { return stands(entries, allow, whom, resource, name, op) })
		if op == opCreate && resource == onTopic {
			allowed = allowed || stands(entries, allow, whom, onCluster, theCluster, opCreate) && !stands(entries, deny, whom, onCluster, theCluster, opCreate)
		}
		if !allowed || stands(entries, deny, whom, resource, name, op) {
			out = append(out, op)
		}
	}
	return out
}

// stands tells whether an entry of that permission is about the principal and the operation.
func stands(entries []api.ACLEntry, permission, whom, resource, name, op string) bool {
	return slices.ContainsFunc(entries, func(e api.ACLEntry) bool {
		if e.Permission != permission || e.Principal != whom && e.Principal != everybody {
			return false
		}
		e.Permission = allow
		return grants(e, resource, name, op)
	})
}

// alters asks the cluster whether the worker may make entries, which a fence is.
func (c check) alters(ctx context.Context, k *kafka) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations = true
	res, err := req.RequestWith(ctx, k.client)
	if err != nil || res.ErrorCode != 0 {
		return // a broker before 2.8 does not tell
	}
	if got := kadm.DecodeACLOperations(res.ClusterAuthorizedOperations); len(got) > 0 && !slices.Contains(got, kadm.OpAlter) {
		c.find(false, "allow the worker's principal ALTER on CLUSTER", "a full drill, as any move, will fail: the worker may not make ACL entries, which a fence is")
	}
}
