package link

import (
	"strings"
	"testing"
)

func TestFiltersIncludeByNameOrPrefixAndExcludeWins(t *testing.T) {
	f, err := ParseGroupFilters(`{"groupFilters":[
		{"name":"cli-consumer","patternType":"LITERAL","filterType":"INCLUDE"},
		{"name":"app-","patternType":"PREFIXED","filterType":"INCLUDE"},
		{"name":"web-","patternType":"PREFIX","filterType":"INCLUDE"},
		{"name":"app-test","patternType":"PREFIXED","filterType":"EXCLUDE"},
		{"name":"web-1","patternType":"LITERAL","filterType":"EXCLUDE"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"cli-consumer": true, "cli-consumer2": false, "app-": true, "app-1": true, "app-test-3": false,
		"web-1": false, "web-12": true, "": false, "*": false,
	} {
		if f.Match(name) != want {
			t.Errorf("%q: got %t", name, !want)
		}
	}
}

func TestTheStarIsAllButTheExcluded(t *testing.T) {
	f, err := ParseTopicFilters(`{"topicFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"},{"name":"_","patternType":"PREFIXED","filterType":"EXCLUDE"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Match("dr-topic") || f.Match("_internal") {
		t.Errorf("got %t %t", f.Match("dr-topic"), f.Match("_internal"))
	}
	none, err := ParseTopicFilters("")
	if err != nil || !none.Empty() || none.Match("dr-topic") {
		t.Errorf("no filter: %v, %v", none, err)
	}
}

func TestFiltersThatWouldMeanSomethingElseAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		`{"groupFilters":`:    "not the JSON of filters",
		`{"topicFilters":[]}`: "topicFilters",
		`{"groupFilters":[]}`: "nothing is included",
		`{} {}`:               "text behind it",
		`{"groupFilters":[{"name":"a","patternType":"LITERAL","filterType":"EXCLUDE"}]}`:                        "nothing is included",
		`{"groupFilters":[{"name":"","patternType":"LITERAL","filterType":"INCLUDE"}]}`:                         "groupFilters[0]: name is required",
		`{"groupFilters":[{"name":"*","patternType":"PREFIXED","filterType":"INCLUDE"}]}`:                       "LITERAL for all",
		`{"groupFilters":[{"name":"a","patternType":"REGEX","filterType":"INCLUDE"}]}`:                          "'REGEX' is neither LITERAL nor PREFIXED",
		`{"groupFilters":[{"name":"a","patternType":"LITERAL","filterType":"ALLOW"}]}`:                          "'ALLOW' is neither INCLUDE nor EXCLUDE",
		`{"groupFilters":[{"name":"a","patternType":"LITERAL","filterType":"INCLUDE","topicTypes":["LOCAL"]}]}`: "topicTypes",
	} {
		if _, err := ParseGroupFilters(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want …%s…", text, err, says)
		}
	}
	_, err := ParseGroupFilters(`{"groupFilters":[{"name":"","patternType":"X","filterType":"Y"},{"name":"","patternType":"LITERAL","filterType":"INCLUDE"}]}`)
	if err == nil || strings.Count(err.Error(), "groupFilters[") != 4 {
		t.Errorf("not all mistakes at once: %v", err)
	}
}

func FuzzFiltersNeverMatchWhatOneExcludes(f *testing.F) {
	f.Add(`{"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}`, "a")
	f.Add(`{"groupFilters":[{"name":"a","patternType":"PREFIX","filterType":"EXCLUDE"}]}`, "ab")
	f.Fuzz(func(t *testing.T, text, name string) {
		filters, err := ParseGroupFilters(text)
		if err != nil || !filters.Match(name) {
			return
		}
		for _, r := range filters.rules {
			if r.exclude && r.match(name) {
				t.Errorf("%q is matched although %+v excludes it", name, r)
			}
		}
	})
}
