package rest

import (
	"reflect"
	"strings"
)

// filled is body with [] in the place of every null list that is always there:
// clients of the contract refuse null, and it means nothing else.
func filled(body any) any {
	if body == nil {
		return nil
	}
	v := reflect.New(reflect.TypeOf(body)).Elem()
	v.Set(reflect.ValueOf(body))
	fill(v)
	return v.Interface()
}

func fill(v reflect.Value) {
	switch v.Kind() {
	default: // holds no list
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f, opts := v.Field(i), v.Type().Field(i).Tag.Get("json")
			if f.CanSet() && !(f.IsZero() && strings.Contains(opts, ",omit")) {
				fill(f)
			}
		}
	}
}
