package link

import (
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// acl reads "ALLOW READ TOPIC LITERAL orders User:app *".
func acl(text string) api.ACLEntry {
	w := strings.Fields(text)
	return api.ACLEntry{Permission: w[0], Operation: w[1], ResourceType: w[2], PatternType: w[3], ResourceName: w[4], Principal: w[5], Host: w[6]}
}

func oneACLFilter(resource, access string) string {
	return `{"aclFilters":[{"resourceFilter":{` + resource + `},"accessFilter":{` + access + `}}]}`
}

func TestACLFiltersChooseAsKafkaDoes(t *testing.T) {
	const anyAccess = `"operation":"any","permissionType":"any"`
	for name, tc := range map[string]struct {
		filter string
		yes    []string
		no     []string
	}{
		"all": {allACLs, []string{"ALLOW READ TOPIC LITERAL orders User:a *", "DENY ALL CLUSTER LITERAL kafka-cluster User:b 10.0.0.1"}, nil},
		"one kind": {
			oneACLFilter(`"resourceType":"GROUP","patternType":"any"`, anyAccess),
			[]string{"ALLOW READ GROUP PREFIXED g User:a *"},
			[]string{"ALLOW READ TOPIC LITERAL g User:a *"},
		},
		"a name is the pattern's own": {
			oneACLFilter(`"resourceType":"topic","patternType":"any","name":"ord"`, anyAccess),
			[]string{"ALLOW READ TOPIC PREFIXED ord User:a *", "ALLOW READ TOPIC LITERAL ord User:a *"},
			[]string{"ALLOW READ TOPIC LITERAL orders User:a *", "ALLOW READ TOPIC LITERAL * User:a *"},
		},
		"with match it is the resource's": {
			oneACLFilter(`"resourceType":"topic","patternType":"match","name":"orders"`, anyAccess),
			[]string{"ALLOW READ TOPIC PREFIXED ord User:a *", "ALLOW READ TOPIC LITERAL orders User:a *", "ALLOW READ TOPIC LITERAL * User:a *"},
			[]string{"ALLOW READ TOPIC LITERAL ord User:a *", "ALLOW READ TOPIC PREFIXED x User:a *"},
		},
		"access": {
			oneACLFilter(`"resourceType":"any","patternType":"prefixed"`, `"operation":"describe_configs","permissionType":"Allow","principal":"User:a","host":"*"`),
			[]string{"ALLOW DESCRIBE_CONFIGS TOPIC PREFIXED ord User:a *"},
			[]string{
				"ALLOW DESCRIBE_CONFIGS TOPIC PREFIXED ord User:b *", "ALLOW DESCRIBE_CONFIGS TOPIC PREFIXED ord User:a 10.0.0.1", "DENY DESCRIBE_CONFIGS TOPIC PREFIXED ord User:a *",
				"ALLOW DESCRIBE TOPIC PREFIXED ord User:a *", "ALLOW DESCRIBE_CONFIGS TOPIC LITERAL ord User:a *",
			},
		},
		"spelt out as the wire does": {
			oneACLFilter(`"resourceType":"TRANSACTIONAL_ID","patternType":"LITERAL"`, anyAccess),
			[]string{"ALLOW WRITE TRANSACTIONAL_ID LITERAL tx User:a *"},
			[]string{"ALLOW WRITE TRANSACTIONAL_ID PREFIXED tx User:a *"},
		},
	} {
		f, err := ParseACLFilters(tc.filter)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, e := range tc.yes {
			if !f.Match(acl(e)) {
				t.Errorf("%s: does not choose %s", name, e)
			}
		}
		for _, e := range tc.no {
			if f.Match(acl(e)) {
				t.Errorf("%s: chooses %s", name, e)
			}
		}
	}
}

func TestBadACLFiltersAreNamed(t *testing.T) {
	for filter, says := range map[string]string{
		`{`:                     "not the JSON of filters",
		`{"aclFilters":[]}`:     "chooses nothing",
		`{"aclFilters":[{}]} x`: "text behind it",
		`{"groupFilters":[{}]}`: "unknown field",
		oneACLFilter(``, ``):    "resourceFilter.resourceType: ''",
		oneACLFilter(`"resourceType":"queue","patternType":"any"`, `"operation":"any","permissionType":"any"`):                      "resourceFilter.resourceType: 'queue'",
		oneACLFilter(`"resourceType":"any","patternType":"PREFIX"`, `"operation":"any","permissionType":"any"`):                     "patternType: 'PREFIX'",
		oneACLFilter(`"resourceType":"any","patternType":"any","name":""`, `"operation":"any","permissionType":"any"`):              "resourceFilter.name: is empty",
		oneACLFilter(`"resourceType":"any","patternType":"any"`, `"operation":"any","permissionType":"any","principal":"billing"`):  "write it as ACLs have it",
		oneACLFilter(`"resourceType":"any","patternType":"any","filterType":"EXCLUDE"`, `"operation":"any","permissionType":"any"`): "unknown field",
	} {
		if _, err := ParseACLFilters(filter); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", filter, err, says)
		}
	}
}

func TestSwitchingAFeatureOffClearsItsFilters(t *testing.T) {
	const groups, topics = `{"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}`, `{"topicFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}`
	on := map[string]string{keyBootstrap: "east:9092", keyACLSync: "true", keyACLFilters: allACLs, keyOffsetSync: "true", keyGroupFilters: groups, keyAutoCreate: "true", keyTopicFilters: topics}
	off := "false"
	for feature, filters := range map[string]string{keyACLSync: keyACLFilters, keyOffsetSync: keyGroupFilters, keyAutoCreate: keyTopicFilters} {
		next, _, err := Alter(on, []api.AlterConfig{{Name: feature, Value: &off, Operation: "SET"}})
		if err != nil || next[filters] != "" || len(next) != len(on)-1 {
			t.Errorf("%s off: %v %v", feature, next, err)
		}
		value := on[filters]
		next, _, err = Alter(on, []api.AlterConfig{{Name: feature, Operation: "DELETE"}, {Name: filters, Value: &value, Operation: "SET"}})
		if err != nil || next[filters] == "" {
			t.Errorf("%s: filters of the same request are gone: %v %v", feature, next, err)
		}
	}
}
