// Package config is what package local tells kfaked. It stands alone so that kfaked links nothing else of package local,
// and need not be built again when that changes. Start with Config.
package config

// Config is the JSON file that kfaked's only argument names.
type Config struct {
	ClusterID  string            `json:"cluster_id"`
	DataDir    string            `json:"data_dir,omitempty"` // none: everything is in memory
	Listen     []string          `json:"listen"`             // one address per broker
	Advertised []string          `json:"advertised"`         // what metadata say instead; same length
	SuperUser  Login             `json:"super_user"`
	Users      []Login           `json:"users"`
	Properties map[string]string `json:"properties"` // see kfake.BrokerConfigs
}

// Login is a SASL user.
type Login struct{ Name, Password string }
