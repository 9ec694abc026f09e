package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// EnsureLink creates the link, or brings its configs to what the plan says. A
// link's login is never given out, so that it is set again whenever there is
// one: that makes the link connect anew, and mirrors go on where they stand.
func (a *Activities) EnsureLink(ctx context.Context, in workflows.EnsureLinkInput) (workflows.EnsureLinkResult, error) {
	defer a.beat(ctx)()
	e, err := a.linkEngine(ctx, in)
	if err != nil {
		return workflows.EnsureLinkResult{}, settle(err)
	}
	want, err := linkConfigs(in)
	if err != nil {
		return workflows.EnsureLinkResult{}, settle(err)
	}
	var out workflows.EnsureLinkResult
	_, err = e.Link(ctx, in.Link.Name, false)
	switch {
	case gone(err):
		out.Created, err = a.createLink(ctx, e, in, want)
	case err == nil:
		err = alterLink(ctx, e, in.Link.Name, want)
	}
	if err != nil {
		return out, settle(fmt.Errorf("link %s at engine %s: %w", in.Link.Name, in.Destination.Name, err))
	}
	now, err := e.Link(ctx, in.Link.Name, false)
	if err != nil {
		return out, settle(err)
	}
	out.LinkID, out.State = now.LinkID, now.LinkState
	if now.LinkError != api.LinkErrorNone {
		out.Error = now.LinkError
		if now.LinkErrorMessage != nil {
			out.Error += ": " + *now.LinkErrorMessage
		}
	}
	return out, nil
}

// linkEngine calls as the operation only where it is open on the link: an
// operation begins on a link that exists, so that what makes or alters the link
// comes before, as nobody's call. The engine refuses that while another
// operation is at work on the link.
func (a *Activities) linkEngine(ctx context.Context, in workflows.EnsureLinkInput) (*api.Client, error) {
	e, err := a.engine(in.Destination)
	if err != nil {
		return nil, err
	}
	op, err := e.Operation(ctx, in.Link.Name)
	switch {
	case gone(err):
		return e, nil
	case err != nil:
		return nil, fmt.Errorf("operation on link %s at engine %s: %w", in.Link.Name, in.Destination.Name, err)
	case op.OperationID == in.Call.OperationID && op.State == "open":
		return a.engineAs(in.Destination, in.Call)
	}
	return e, nil
}

func (a *Activities) createLink(ctx context.Context, e *api.Client, in workflows.EnsureLinkInput, want map[string]string) (bool, error) {
	// The id as the worker sees it, so that an engine that dials something else
	// is refused.
	k, err := a.kafka(in.Source)
	if err != nil {
		return false, err
	}
	id, err := k.clusterID(ctx)
	if err != nil {
		return false, err
	}
	req := api.CreateLink{SourceClusterID: id}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value := want[name]
		req.Configs = append(req.Configs, api.NameValue{Name: name, Value: &value})
	}
	err = e.CreateLink(ctx, in.Link.Name, req, false, true)
	if err != nil && errors.Is(err, api.LinkExists()) {
		return false, nil // an attempt before this one did it
	}
	return err == nil, err
}

// setOnLink is a config's source when it was set on the link.
const setOnLink = "DYNAMIC_CLUSTER_LINK_CONFIG"

func alterLink(ctx context.Context, e *api.Client, link string, want map[string]string) error {
	have, err := e.LinkConfigs(ctx, link)
	if err != nil {
		return err
	}
	var changes []api.AlterConfig
	for _, c := range have {
		value, wanted := want[c.Name]
		switch {
		case !wanted && c.Source == setOnLink && !c.IsReadOnly:
			changes = append(changes, api.AlterConfig{Name: c.Name, Operation: "DELETE"})
		case wanted && (c.Value == nil || *c.Value != value):
			changes = append(changes, api.AlterConfig{Name: c.Name, Value: &value, Operation: "SET"})
		}
		delete(want, c.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value := want[name] // unknown to the engine, which says so
		changes = append(changes, api.AlterConfig{Name: name, Value: &value, Operation: "SET"})
	}
	if len(changes) == 0 {
		return nil
	}
	return e.AlterLinkConfigs(ctx, link, changes, false)
}

// linkConfigs is a link as the plan describes it, in the contract's words.
func linkConfigs(in workflows.EnsureLinkInput) (map[string]string, error) {
	sec := in.Destination.Engine.LinkSecurity
	out := map[string]string{
		"bootstrap.servers": strings.Join(in.Source.Kafka.EngineBootstrap, ","),
		"security.protocol": sec.Protocol,
	}
	if strings.HasPrefix(sec.Protocol, "SASL_") {
		module := "scram.ScramLoginModule"
		if sec.Mechanism == "PLAIN" {
			module = "plain.PlainLoginModule"
		}
		out["sasl.mechanism"] = sec.Mechanism
		// The password is a reference, which the engine resolves.
		out["sasl.jaas.config"] = fmt.Sprintf(`org.apache.kafka.common.security.%s required username="%s" password="%s";`,
			module, quoted.Replace(sec.Username), quoted.Replace(sec.Password))
	}
	if sec.CAFile != "" {
		out["ssl.truststore.location"] = sec.CAFile
	}
	if len(in.Groups) > 0 {
		type filter struct {
			Name        string `json:"name"`
			PatternType string `json:"patternType"`
			FilterType  string `json:"filterType"`
		}
		var filters []filter
		for _, g := range in.Groups {
			filters = append(filters, filter{g, "LITERAL", "INCLUDE"})
		}
		b, err := json.Marshal(map[string]any{"groupFilters": filters})
		if err != nil {
			return nil, err
		}
		out["consumer.offset.sync.enable"] = "true"
		out["consumer.offset.group.filters"] = string(b)
	}
	maps.Copy(out, in.Link.Configs)
	return out, nil
}

// quoted escapes what would end a quoted value of a login line.
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// groupRisks translates an engine's view of group offsets; only names the
// groups wanted, empty for all.
func groupRisks(states []api.GroupState, by map[string]api.MirrorProgress, only []string) []runbook.GroupRisk {
	out := []runbook.GroupRisk{}
	for _, g := range states {
		if len(only) > 0 && !slices.Contains(only, g.Group) {
			continue
		}
		r := runbook.GroupRisk{
			Group: g.Group, Topic: g.Topic, Partition: g.Partition, SourceOffset: g.SourceOffset, Wanted: g.Wanted,
			Dest: g.DestOffset, Clamped: g.Clamped, Owned: g.Owned, Problem: g.Problem,
		}
		for _, p := range by[g.Topic].Partitions {
			if p.Partition == g.Partition {
				r.DestEnd = p.DestEnd
			}
		}
		out = append(out, r)
	}
	return out
}

func compare(a, b string) int { return strings.Compare(a, b) }
