package rest

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

const about = "A mirroring engine beside one Kafka cluster, the destination of its cluster links. " +
	"/kafka/v3 and /v3 are Kafka REST v3 Cluster Linking for DESTINATION links; /drawbridge/v1 is Drawbridge's own. " +
	"x-role is what a caller must be: read, operate or admin; callers show a token (bearer, or as the password of HTTP Basic) or a client certificate. " +
	"An engine without tokens and certificates listens on loopback only and takes everybody for an admin. " +
	"Every refusal has a JSON body with error_code and message. Unknown paths are 404, wrong methods 405."

// writer makes the document.
type writer struct {
	doc     *openapi3.T
	schemas schemas
}

// writeDocument describes the calls.
func writeDocument(t *testing.T) *openapi3.T {
	t.Helper()
	w := writer{
		doc: &openapi3.T{
			OpenAPI: "3.0.3", Info: &openapi3.Info{Title: "Drawbridge mirroring engine", Version: "v1", Description: about},
			Paths: openapi3.NewPaths(),
			Components: &openapi3.Components{
				Parameters: openapi3.ParametersMap{}, Responses: openapi3.ResponseBodies{},
				SecuritySchemes: openapi3.SecuritySchemes{
					"bearer": {Value: openapi3.NewSecurityScheme().WithType("http").WithScheme("bearer")},
					"basic":  {Value: openapi3.NewSecurityScheme().WithType("http").WithScheme("basic")},
				},
			},
			Security: openapi3.SecurityRequirements{{"bearer": {}}, {"basic": {}}},
		},
		schemas: schemas{openapi3.Schemas{}, comments(t)},
	}
	w.shared()
	for _, c := range contractCalls {
		method, path, _ := strings.Cut(c.pattern, " ")
		path = contractNames(under("/clusters/{cluster_id}", path))
		item := w.add(c, method, path, needs(method+" "+api.PrefixKafka+under("/clusters/{cluster_id}", strings.TrimPrefix(c.pattern, method+" "))), false)
		item.Servers = openapi3.Servers{
			{URL: api.PrefixKafka, Description: "As Confluent Cloud and Confluent Server have it."},
			{URL: api.PrefixStandalone, Description: "As the stand-alone REST Proxy has it."},
		}
	}
	for _, c := range ourCalls {
		method, path, _ := strings.Cut(c.pattern, " ")
		path = under(api.PrefixDrawbridge, path)
		w.add(c, method, path, needs(method+" "+path), true)
	}
	w.doc.Components.Schemas = w.schemas.components
	return w.doc
}

// under is a path of a table behind its prefix, or without it after a !.
func under(prefix, path string) string {
	if own, is := strings.CutPrefix(path, "!"); is {
		return own
	}
	return prefix + path
}

// contractNames gives a path's parameters the contract's names; the router has
// those of the log.
func contractNames(path string) string {
	if strings.Contains(path, "/links") {
		return strings.NewReplacer("{link}", "{link_name}", "{name}", "{config_name}", "{topic}", "{mirror_topic_name}").Replace(path)
	}
	return strings.NewReplacer("{topic}", "{topic_name}", "{group}", "{consumer_group_id}").Replace(path)
}

// operationHeaders are the names of the parameters that tie a change to an operation.
var operationHeaders = map[string]string{api.HeaderOperation: "The calling operation.", api.HeaderEpoch: "Its epoch, a whole number from 0; goes together with " + api.HeaderOperation + "."}

// shared writes what many calls have.
func (w *writer) shared() {
	for name, says := range operationHeaders {
		p := openapi3.NewHeaderParameter(name).WithDescription(says).WithSchema(openapi3.NewStringSchema())
		if name == api.HeaderEpoch {
			p.WithSchema(openapi3.NewInt64Schema().WithMin(0))
		}
		w.doc.Components.Parameters[name] = &openapi3.ParameterRef{Value: p}
	}
	for status, known := range codes {
		code := openapi3.NewInt32Schema()
		for _, c := range known {
			code.Enum = append(code.Enum, c)
		}
		body := openapi3.NewObjectSchema().WithProperty("error_code", code).WithProperty("message", openapi3.NewStringSchema().WithMinLength(1))
		body.Required = []string{"error_code", "message"}
		w.doc.Components.Responses[strconv.Itoa(status)] = &openapi3.ResponseRef{
			Value: openapi3.NewResponse().WithDescription(http.StatusText(status)).WithJSONSchema(body),
		}
	}
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

// add describes one call; ours refuse fields that they do not know.
func (w *writer) add(c call, method, path string, role Role, ours bool) *openapi3.PathItem {
	op := openapi3.NewOperation()
	op.OperationID, op.Summary = c.id, c.summary
	if role > 0 {
		op.Extensions = map[string]any{"x-role": role.String()}
	} else {
		op.Security = openapi3.NewSecurityRequirements()
	}
	for _, m := range inPath.FindAllStringSubmatch(path, -1) {
		schema := openapi3.NewStringSchema()
		if m[1] == "partition_id" || m[1] == "shard" {
			schema = openapi3.NewInt32Schema()
		}
		op.AddParameter(openapi3.NewPathParameter(m[1]).WithSchema(schema))
	}
	for _, q := range c.query {
		op.AddParameter(q.parameter())
	}
	fails := []int{400, 401, 403, 404, 408, 429, 500, 503}
	if method != http.MethodGet {
		for _, name := range slices.Sorted(maps.Keys(operationHeaders)) {
			op.Parameters = append(op.Parameters, &openapi3.ParameterRef{Ref: "#/components/parameters/" + name})
		}
		fails = append(fails, 409)
	}
	if c.in != nil {
		op.RequestBody = &openapi3.RequestBodyRef{Value: openapi3.NewRequestBody().WithRequired(true).
			WithJSONSchemaRef(w.schemas.of(reflect.TypeOf(c.in), true, ours))}
		fails = append(fails, 413)
	}
	op.Responses = openapi3.NewResponsesWithCapacity(0)
	if c.fails != nil {
		fails = c.fails
	}
	for _, status := range fails {
		op.Responses.Set(strconv.Itoa(status), &openapi3.ResponseRef{Ref: fmt.Sprintf("#/components/responses/%d", status)})
	}
	status := c.status
	if status == 0 {
		status = http.StatusOK
	}
	if status < http.StatusBadRequest {
		op.AddResponse(status, w.success(c))
	}
	item := w.doc.Paths.Value(path)
	if item == nil {
		item = &openapi3.PathItem{}
		w.doc.Paths.Set(path, item)
	}
	item.SetOperation(method, op)
	return item
}

func (w *writer) success(c call) *openapi3.Response {
	r := openapi3.NewResponse().WithDescription("Done.")
	switch {
	case c.out != nil:
		r.WithJSONSchemaRef(w.schemas.of(reflect.TypeOf(c.out), false, false))
	case c.media != nil:
		r.WithContent(openapi3.NewContentWithSchema(openapi3.NewStringSchema(), c.media))
	default:
		r.WithDescription("Done; no body.")
	}
	return r
}

func (q query) parameter() *openapi3.Parameter {
	p := openapi3.NewQueryParameter(q.name).WithDescription(q.says).WithRequired(q.required)
	switch of := q.of.(type) {
	case bool:
		return p.WithSchema(openapi3.NewBoolSchema().WithDefault(of))
	default:
		schema := openapi3.NewStringSchema()
		for _, v := range q.enum {
			schema.Enum = append(schema.Enum, v)
		}
		return p.WithSchema(schema)
	}
}
