package worker

import (
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// checkAttributes refuses a namespace without the search attributes that
// workflows write: a workflow that sets an unknown one does not fail but repeats
// its task for ever, after its first activities ran.
func checkAttributes(ctx context.Context, c client.Client, namespace string) error {
	got, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("search attributes of namespace %s: %w", namespace, err)
	}
	var faults []error
	for _, a := range workflows.SearchAttributes {
		want := enumspb.INDEXED_VALUE_TYPE_KEYWORD
		if a.Int {
			want = enumspb.INDEXED_VALUE_TYPE_INT
		}
		switch have, ok := got.GetCustomAttributes()[a.Name]; {
		case !ok:
			faults = append(faults, fmt.Errorf("search attribute %s is missing in namespace %s: run temporal operator search-attribute create --namespace %s --name %s --type %s",
				a.Name, namespace, namespace, a.Name, want))
		case have != want:
			faults = append(faults, fmt.Errorf("search attribute %s of namespace %s is of type %s, must be %s: remove it, or use a namespace of Drawbridge's own", a.Name, namespace, have, want))
		}
	}
	return errors.Join(faults...)
}
