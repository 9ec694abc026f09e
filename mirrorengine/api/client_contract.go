package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Clusters lists the engine's local cluster, as the only one.
func (c *Client) Clusters(ctx context.Context) ([]Cluster, error) {
	var out List[Cluster]
	err := c.do(ctx, http.MethodGet, ClustersPath(), nil, nil, &out)
	return out.Data, err
}

// Cluster describes a cluster by its id; every id but the local one is a 404.
func (c *Client) Cluster(ctx context.Context, id string) (Cluster, error) {
	var out Cluster
	err := c.do(ctx, http.MethodGet, ClusterPath(id), nil, nil, &out)
	return out, err
}

// CreateLink makes a link. validateLink dials the source first and refuses a
// link that cannot work; validateOnly makes nothing.
func (c *Client) CreateLink(ctx context.Context, name string, req CreateLink, validateOnly, validateLink bool) error {
	q := url.Values{
		QueryLinkName:     {name},
		QueryValidateOnly: {strconv.FormatBool(validateOnly)},
		QueryValidateLink: {strconv.FormatBool(validateLink)},
	}
	return c.inCluster(ctx, http.MethodPost, LinksPath, q, req, nil)
}

// Links lists all links.
func (c *Client) Links(ctx context.Context) ([]Link, error) {
	var out List[Link]
	err := c.inCluster(ctx, http.MethodGet, LinksPath, nil, nil, &out)
	return out.Data, err
}

// Link describes a link, with its background tasks if asked for.
func (c *Client) Link(ctx context.Context, name string, tasks bool) (Link, error) {
	var out Link
	q := flags(map[string]bool{QueryIncludeTasks: tasks})
	err := c.inCluster(ctx, http.MethodGet, inLink(LinkPath, name), q, nil, &out)
	return out, err
}

// DeleteLink removes a link; force also with mirrors or an undecided ledger.
func (c *Client) DeleteLink(ctx context.Context, name string, force, validateOnly bool) error {
	q := flags(map[string]bool{QueryForce: force, QueryValidateOnly: validateOnly})
	return c.inCluster(ctx, http.MethodDelete, inLink(LinkPath, name), q, nil, nil)
}

// LinkConfigs lists a link's configs; sensitive ones have no value.
func (c *Client) LinkConfigs(ctx context.Context, name string) ([]LinkConfig, error) {
	var out List[LinkConfig]
	err := c.inCluster(ctx, http.MethodGet, inLink(LinkConfigsPath, name), nil, nil, &out)
	return out.Data, err
}

// LinkConfig is one config of a link.
func (c *Client) LinkConfig(ctx context.Context, link, name string) (LinkConfig, error) {
	var out LinkConfig
	err := c.inCluster(ctx, http.MethodGet, inConfig(link, name), nil, nil, &out)
	return out, err
}

// SetLinkConfig sets one config of a link.
func (c *Client) SetLinkConfig(ctx context.Context, link, name, value string) error {
	return c.inCluster(ctx, http.MethodPut, inConfig(link, name), nil, ConfigValue{Value: &value}, nil)
}

// ResetLinkConfig puts one config of a link back to its default.
func (c *Client) ResetLinkConfig(ctx context.Context, link, name string) error {
	return c.inCluster(ctx, http.MethodDelete, inConfig(link, name), nil, nil, nil)
}

// AlterLinkConfigs changes several configs of a link, all or none.
func (c *Client) AlterLinkConfigs(ctx context.Context, name string, changes []AlterConfig, validateOnly bool) error {
	q := flags(map[string]bool{QueryValidateOnly: validateOnly})
	return c.inCluster(ctx, http.MethodPut, inLink(AlterLinkConfigsPath, name), q, AlterConfigs{Data: changes}, nil)
}

// CreateMirror makes a mirror topic.
func (c *Client) CreateMirror(ctx context.Context, link string, req CreateMirror) error {
	return c.inCluster(ctx, http.MethodPost, inLink(MirrorsPath, link), nil, req, nil)
}

// Mirrors lists the mirrors of a link, or of all with AllLinks; status filters,
// empty for all.
func (c *Client) Mirrors(ctx context.Context, link, status string) ([]Mirror, error) {
	q := url.Values{}
	if status != "" {
		q.Set(QueryMirrorStatus, status)
	}
	var out List[Mirror]
	err := c.inCluster(ctx, http.MethodGet, inLink(MirrorsPath, link), q, nil, &out)
	return out.Data, err
}

// Mirror describes a mirror topic.
func (c *Client) Mirror(ctx context.Context, link, topic string, transitionErrors bool) (Mirror, error) {
	var out Mirror
	q := flags(map[string]bool{QueryTransitionErrors: transitionErrors})
	path := func(cluster string) string { return MirrorPath(cluster, link, topic) }
	err := c.inCluster(ctx, http.MethodGet, path, q, nil, &out)
	return out, err
}

// AlterMirrors promotes, fails over, pauses or resumes mirrors. A nil error
// does not mean that every topic was accepted: look at each result's Err.
func (c *Client) AlterMirrors(ctx context.Context, link string, verb MirrorVerb, req AlterMirrors, validateOnly bool) ([]AlterMirrorResult, error) {
	var out List[AlterMirrorResult]
	q := flags(map[string]bool{QueryValidateOnly: validateOnly})
	path := func(cluster string) string { return AlterMirrorsPath(cluster, link, verb) }
	err := c.inCluster(ctx, http.MethodPost, path, q, req, &out)
	return out.Data, err
}

// inLink fixes the link of a path.
func inLink(path func(cluster, link string) string, link string) func(string) string {
	return func(cluster string) string { return path(cluster, link) }
}

func inConfig(link, name string) func(string) string {
	return func(cluster string) string { return LinkConfigPath(cluster, link, name) }
}
