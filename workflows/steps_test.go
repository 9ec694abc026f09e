package workflows

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// The seam gives the SDK the names of its methods; on a struct in place of the
// interface steps.X would panic, which no build and no vet finds.
func TestEveryStepHasItsMethodsNameAndShape(t *testing.T) {
	iface := reflect.TypeFor[Steps]()
	v := reflect.ValueOf(&steps).Elem()
	if v.Kind() != reflect.Interface {
		t.Fatal("steps must have the interface type")
	}
	name := runtime.FuncForPC(reflect.ValueOf(steps.FenceSite).Pointer()).Name()
	if !strings.HasSuffix(strings.TrimSuffix(name, "-fm"), ".FenceSite") {
		t.Errorf("the SDK would call FenceSite %q", name)
	}
	call := reflect.TypeFor[Call]()
	for i := range iface.NumMethod() {
		m := iface.Method(i)
		if m.Type.NumIn() != 2 || m.Type.NumOut() != 2 || m.Type.In(0).String() != "context.Context" || m.Type.Out(1).String() != "error" {
			t.Errorf("%s is not func(ctx, Input) (Result, error): %s", m.Name, m.Type)
			continue
		}
		f, ok := m.Type.In(1).FieldByName("Call")
		if !ok || f.Type != call {
			t.Errorf("%s's input has no Call: without it a retry has no key", m.Name)
		}
	}
	if iface.NumMethod() < 40 {
		t.Errorf("only %d steps", iface.NumMethod())
	}
}
