package rest

import (
	"net/http"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func (s *Server) listLinks(w http.ResponseWriter, r *request) error {
	links, err := s.opts.Links.Links(r.Context())
	if err != nil {
		return err
	}
	for i := range links {
		s.finishLink(r, &links[i])
	}
	return writeList(w, api.KindLinkList, s.self(r, "links"), links)
}

func (s *Server) createLink(w http.ResponseWriter, r *request) error {
	validateOnly, err := boolean(r, api.QueryValidateOnly, false)
	if err != nil {
		return err
	}
	validateLink, err := boolean(r, api.QueryValidateLink, true)
	if err != nil {
		return err
	}
	name := r.URL.Query().Get(api.QueryLinkName)
	if !validName(name) {
		return api.InvalidLinkName()
	}
	var body api.CreateLink
	if err := decode(r, &body); err != nil {
		return err
	}
	if err := s.opts.Links.CreateLink(r.Context(), name, body, validateOnly, validateLink); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) getLink(w http.ResponseWriter, r *request) error {
	tasks, err := boolean(r, api.QueryIncludeTasks, false)
	if err != nil {
		return err
	}
	link, err := s.opts.Links.Link(r.Context(), r.PathValue("link"), tasks)
	if err != nil {
		return err
	}
	s.finishLink(r, &link)
	return writeJSON(w, http.StatusOK, link)
}

func (s *Server) finishLink(r *request, l *api.Link) {
	l.Kind = api.KindLink
	l.Metadata = api.Metadata{Self: s.self(r, "links", l.LinkName)}
}

// deleteLink answers 200 with an empty body, as the contract has it.
func (s *Server) deleteLink(w http.ResponseWriter, r *request) error {
	force, err := boolean(r, api.QueryForce, false)
	if err != nil {
		return err
	}
	validateOnly, err := boolean(r, api.QueryValidateOnly, false)
	if err != nil {
		return err
	}
	if err := s.opts.Links.DeleteLink(r.Context(), r.PathValue("link"), force, validateOnly); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) configs(r *request) ([]api.LinkConfig, error) {
	link := r.PathValue("link")
	configs, err := s.opts.Links.LinkConfigs(r.Context(), link)
	for i := range configs {
		c := &configs[i]
		c.Kind, c.ClusterID, c.LinkName = api.KindLinkConfig, s.opts.Links.ClusterID(), link
		c.Metadata = api.Metadata{Self: s.self(r, "links", link, "configs", c.Name)}
	}
	return configs, err
}

func (s *Server) listConfigs(w http.ResponseWriter, r *request) error {
	configs, err := s.configs(r)
	if err != nil {
		return err
	}
	return writeList(w, api.KindLinkConfigs, s.self(r, "links", r.PathValue("link"), "configs"), configs)
}

func (s *Server) getConfig(w http.ResponseWriter, r *request) error {
	configs, err := s.configs(r)
	if err != nil {
		return err
	}
	for _, c := range configs {
		if c.Name == r.PathValue("name") {
			return writeJSON(w, http.StatusOK, c)
		}
	}
	return api.ConfigNotFound(r.PathValue("link"), r.PathValue("name"))
}

// Operations of configs:alter.
const (
	opSet    = "SET"
	opDelete = "DELETE"
)

func (s *Server) setConfig(w http.ResponseWriter, r *request) error {
	var body api.ConfigValue
	if err := decode(r, &body); err != nil {
		return err
	}
	return s.alter(w, r, []api.AlterConfig{{Name: r.PathValue("name"), Value: body.Value, Operation: opSet}}, false)
}

func (s *Server) resetConfig(w http.ResponseWriter, r *request) error {
	return s.alter(w, r, []api.AlterConfig{{Name: r.PathValue("name"), Operation: opDelete}}, false)
}

func (s *Server) alterConfigs(w http.ResponseWriter, r *request) error {
	validateOnly, err := boolean(r, api.QueryValidateOnly, false)
	if err != nil {
		return err
	}
	var body api.AlterConfigs
	if err := decode(r, &body); err != nil {
		return err
	}
	if len(body.Data) == 0 {
		return api.BadRequest("data is required: which configs to change.")
	}
	return s.alter(w, r, body.Data, validateOnly || body.ValidateOnly)
}

func (s *Server) alter(w http.ResponseWriter, r *request, changes []api.AlterConfig, validateOnly bool) error {
	seen := map[string]bool{}
	for i := range changes {
		c := &changes[i]
		if c.Operation == "" {
			c.Operation = opSet
		}
		switch {
		case c.Name == "":
			return api.InvalidConfigName()
		case seen[c.Name]:
			return api.BadRequest("Config '%s' is named twice.", c.Name)
		case c.Operation != opSet && c.Operation != opDelete:
			return api.BadRequest("Config '%s': operation '%s' is neither SET nor DELETE.", c.Name, c.Operation)
		case c.Operation == opSet && c.Value == nil:
			return api.BadRequest("Config '%s': SET wants a value; DELETE puts the default back.", c.Name)
		}
		seen[c.Name] = true
	}
	if err := s.opts.Links.AlterLinkConfigs(r.Context(), r.PathValue("link"), changes, validateOnly); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
