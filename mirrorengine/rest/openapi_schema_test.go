package rest

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// schemas turns types of package api into the document's components. What Go
// types say of JSON is taken from them and nothing else: a field without omitempty
// is always there, a pointer without it may be null.
type schemas struct {
	components openapi3.Schemas
	says       map[string]string // doc comments, by type and by type.Field
}

// of is the schema of a type. asked: of a request, which may leave out what it
// need not say; strict: and may say nothing else.
func (s *schemas) of(t reflect.Type, asked, strict bool) *openapi3.SchemaRef {
	switch t {
	case reflect.TypeFor[time.Time]():
		return openapi3.NewSchemaRef("", openapi3.NewDateTimeSchema())
	case reflect.TypeFor[json.RawMessage]():
		return openapi3.NewSchemaRef("", openapi3.NewSchema())
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem(), asked, strict)
	case reflect.Struct:
		return s.component(t, asked, strict)
	case reflect.Slice:
		array := openapi3.NewArraySchema()
		array.Items = s.of(t.Elem(), asked, strict)
		return openapi3.NewSchemaRef("", array)
	case reflect.Map:
		object := openapi3.NewObjectSchema()
		if t.Elem().Kind() == reflect.Interface {
			object.WithAnyAdditionalProperties()
		} else {
			object.AdditionalProperties.Schema = s.of(t.Elem(), asked, strict)
		}
		return openapi3.NewSchemaRef("", object)
	case reflect.Bool:
		return openapi3.NewSchemaRef("", openapi3.NewBoolSchema())
	case reflect.String:
		return openapi3.NewSchemaRef("", openapi3.NewStringSchema())
	case reflect.Float64:
		return openapi3.NewSchemaRef("", openapi3.NewFloat64Schema().WithFormat("double"))
	case reflect.Int64:
		return openapi3.NewSchemaRef("", openapi3.NewInt64Schema())
	case reflect.Int, reflect.Int16, reflect.Int32:
		return openapi3.NewSchemaRef("", openapi3.NewInt32Schema())
	default:
		panic("no schema for " + t.String())
	}
}

// component is a reference to a struct's component, made when it is first met.
func (s *schemas) component(t reflect.Type, asked, strict bool) *openapi3.SchemaRef {
	name := typeName(t)
	id := name
	if asked {
		id += "Request"
	}
	ref := "#/components/schemas/" + id
	if _, made := s.components[id]; made {
		return openapi3.NewSchemaRef(ref, nil)
	}
	object := openapi3.NewObjectSchema()
	s.components[id] = openapi3.NewSchemaRef("", object)
	object.Description = s.says[plain(t)]
	if asked && strict {
		object.WithoutAdditionalProperties()
	}
	s.fields(object, t, name, asked, strict)
	slices.Sort(object.Required)
	return openapi3.NewSchemaRef(ref, nil)
}

func (s *schemas) fields(object *openapi3.Schema, t reflect.Type, owner string, asked, strict bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			s.fields(object, f.Type, owner, asked, strict)
			continue
		}
		field, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if field == "-" {
			continue
		}
		if field == "" {
			panic(t.String() + "." + f.Name + " has no name in JSON")
		}
		left := opts == "omitempty" || opts == "omitzero"
		ref := s.of(f.Type, asked, strict)
		if ref.Ref == "" {
			kind := f.Type.Kind()
			ref.Value.Nullable = kind == reflect.Pointer && (!left || asked) || kind == reflect.Slice && asked // null asks for nothing
			ref.Value.Description = s.says[plain(t)+"."+f.Name]
			for _, v := range enums[owner+"."+field] {
				ref.Value.Enum = append(ref.Value.Enum, v)
			}
		}
		object.WithPropertyRef(field, ref)
		if asked && slices.Contains(wanted[owner], field) || !asked && !left {
			object.Required = append(object.Required, field)
		}
	}
}

// typeName is a type's name in the document: List[api.Link] is LinkList.
func typeName(t reflect.Type) string {
	if f, ok := t.FieldByName("Data"); ok && strings.HasPrefix(t.Name(), "List[") {
		return f.Type.Elem().Name() + "List"
	}
	return strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
}

// plain is a type's name in the source.
func plain(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	return name
}

// comments reads the doc comments of package api's types and fields: what the
// document says of them is said there.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../api/*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	note := func(name string, groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
				out[name] = text
				return
			}
		}
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				continue
			}
			for _, spec := range decl.Specs {
				spec := spec.(*ast.TypeSpec)
				note(spec.Name.Name, spec.Doc, decl.Doc)
				object, ok := spec.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range object.Fields.List {
					for _, name := range f.Names {
						note(spec.Name.Name+"."+name.Name, f.Doc, f.Comment)
					}
				}
			}
		}
	}
	return out
}
