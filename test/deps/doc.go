// Package deps holds the import rules of the product as a test: which room may know which other room and which outside
// library, directly or through others. The linter (depguard in .golangci.yml) says the direct ones while one types; this
// one follows the imports to their end and says the whole chain.
//
// Start with rules_test.go: one entry per room, each ban with its reason. The package has no code of the product.
package deps
