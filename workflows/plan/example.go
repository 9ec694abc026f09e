package plan

import _ "embed"

//go:embed example.yaml
var example string

// Example is a complete plan with every key explained; it validates. Its public
// keys belong to nobody.
func Example() string { return example }
