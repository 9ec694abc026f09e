package local

import (
	"context"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	sdkclient "go.temporal.io/sdk/client"
)

// registerSearchAttributes adds the configured attributes that the namespace lacks (it was made by an earlier start with
// others) and waits until they can be used. Nothing to add costs one call.
func (t *Temporal) registerSearchAttributes(ctx context.Context) error {
	if len(t.cfg.SearchAttributes) == 0 {
		return nil
	}
	c, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	has, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: t.cfg.Namespace})
	if err != nil {
		return fmt.Errorf("list search attributes of namespace %s: %w", t.cfg.Namespace, err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for _, key := range t.cfg.SearchAttributes {
		switch got, ok := has.GetCustomAttributes()[key.GetName()]; {
		case !ok:
			missing[key.GetName()] = key.GetValueType()
		case got != key.GetValueType():
			return fmt.Errorf("search attribute %s of namespace %s is a %s, not a %s: the folder was used by another version; start with an empty one",
				key.GetName(), t.cfg.Namespace, got, key.GetValueType())
		}
	}
	if len(missing) > 0 {
		_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
			Namespace: t.cfg.Namespace, SearchAttributes: missing,
		})
		if err != nil {
			return fmt.Errorf("add search attributes %v to namespace %s: %w", missing, t.cfg.Namespace, err)
		}
	}
	return WaitFor(ctx, "search attributes to be usable", func(ctx context.Context) error { return t.queryable(ctx, c) })
}

// queryable is nil when the frontend knows every attribute: it learns of new ones when it next reads its namespaces, about
// two seconds later. (The history service reads them on a clock of its own; a workflow task that meets it too early is
// tried again by the server.)
func (t *Temporal) queryable(ctx context.Context, c sdkclient.Client) error {
	for _, key := range t.cfg.SearchAttributes {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: t.cfg.Namespace, Query: fmt.Sprintf("`%s` is null", key.GetName()),
		})
		if err != nil {
			return fmt.Errorf("search attribute %s: %w", key.GetName(), err)
		}
	}
	return nil
}
