package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
)

// options are the flags that the server understands. They are a subset of `temporal server start-dev`'s.
type options struct {
	ip         string   // address to bind and to advertise
	port       int      // frontend gRPC port
	uiPort     int      // Web UI port; default frontend port + 1000
	headless   bool     // no Web UI
	dbFile     string   // sqlite file; empty keeps everything in memory, gone with the process
	namespaces []string // created at start; default one named "default"
	logLevel   string   // debug, info, warn, error
	// search attributes that a namespace has from its creation on; one that exists keeps what it has
	searchAttributes map[string]enumspb.IndexedValueType
	version          bool // print the version and leave
}

func (o options) frontend() string { return net.JoinHostPort(o.ip, strconv.Itoa(o.port)) }

type repeated []string

func (r *repeated) String() string     { return strings.Join(*r, ",") }
func (r *repeated) Set(s string) error { *r = append(*r, s); return nil }

func parse(args []string, stderr io.Writer) (options, error) {
	var (
		o         options
		ns, attrs repeated
	)
	fs := flag.NewFlagSet("temporal-dev", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.ip, "ip", "127.0.0.1", "address to bind")
	fs.IntVar(&o.port, "port", 7233, "frontend gRPC `port`")
	fs.IntVar(&o.uiPort, "ui-port", 0, "Web UI `port` (default: frontend port + 1000)")
	fs.BoolVar(&o.headless, "headless", false, "no Web UI")
	fs.StringVar(&o.dbFile, "db-filename", "", "sqlite `file` (default: in memory)")
	fs.StringVar(&o.logLevel, "log-level", "warn", "debug, info, warn or error")
	fs.Var(&ns, "namespace", "`name` of a namespace to create (repeatable; default \"default\")")
	fs.Var(&attrs, "search-attribute", "`name=type` of a search attribute of new namespaces (repeatable)")
	fs.BoolVar(&o.version, "version", false, "print the version and leave")
	// The SDK's test suite passes these two; they have no meaning here.
	fs.String("log-format", "", "accepted and ignored")
	fs.Var(new(repeated), "dynamic-config-value", "accepted and ignored")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("argument %q is not understood: flags only", fs.Arg(0))
	}
	if net.ParseIP(o.ip) == nil {
		return options{}, fmt.Errorf("-ip %q is not an IP address", o.ip)
	}
	o.searchAttributes = make(map[string]enumspb.IndexedValueType, len(attrs))
	for _, attr := range attrs {
		name, typeName, _ := strings.Cut(attr, "=")
		t, err := enumspb.IndexedValueTypeFromString(typeName)
		if err != nil || name == "" {
			return options{}, fmt.Errorf("-search-attribute %q is not name=type, type being Text, Keyword, Int, Double, Bool, Datetime or KeywordList", attr)
		}
		o.searchAttributes[name] = t
	}
	o.namespaces = ns
	if len(ns) == 0 {
		o.namespaces = []string{"default"}
	}
	if o.uiPort == 0 {
		o.uiPort = o.port + 1000
	}
	return o, nil
}
