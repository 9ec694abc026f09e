package local

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/local/kfaked/config"
)

const (
	kfakedPackage = modulePath + "/test/local/kfaked"
	kfakeModule   = "github.com/twmb/franz-go/pkg/kfake"
)

// prepareKFake builds kfaked and writes its configuration.
func (k *Kafka) prepareKFake(ctx context.Context) error {
	binary, err := buildKFaked(ctx)
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	for _, dep := range info.Deps {
		if dep.Path == kfakeModule {
			k.version = dep.Version
		}
	}
	cfg := config.Config{
		ClusterID:  k.clusterID,
		Advertised: k.Bootstrap(),
		SuperUser:  config.Login(k.cfg.SuperUser),
		Properties: k.cfg.Properties,
	}
	if !k.cfg.Volatile {
		cfg.DataDir = filepath.Join(k.cfg.Dir, "data")
	}
	for _, u := range k.cfg.Users {
		cfg.Users = append(cfg.Users, config.Login(u))
	}
	for _, b := range k.brokers {
		cfg.Listen = append(cfg.Listen, b.direct)
	}
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(k.cfg.Dir, "kfaked.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	k.nodes = []*node{{spec: Spec{
		Name:    "kfake " + k.cfg.Name,
		Path:    binary,
		Args:    []string{file},
		LogFile: filepath.Join(k.cfg.Dir, "kfaked.log"),
	}}}
	return nil
}

// buildKFaked builds kfaked into the user's cache, once per process, and returns the binary's path. The name carries
// the binary's hash, so that processes of different source trees do not overwrite what another is running.
func buildKFaked(ctx context.Context) (string, error) {
	kfaked.Lock()
	defer kfaked.Unlock()
	if kfaked.path != "" {
		return kfaked.path, nil
	}
	dir, err := cacheDir("bin")
	if err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(dir, "kfaked-*.tmp")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	if err := tmp.Close(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", tmp.Name(), kfakedPackage)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", kfakedPackage, err, out)
	}
	content, err := os.ReadFile(tmp.Name())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	path := filepath.Join(dir, "kfaked-"+hex.EncodeToString(sum[:8]))
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", err
	}
	removeOld(dir, path)
	kfaked.path = path
	return path, nil
}

// removeOld deletes binaries that nobody has built for a day: each change of kfaked or kfake leaves one. Errors do not matter,
// the next build tries again.
func removeOld(dir, current string) {
	found, _ := filepath.Glob(filepath.Join(dir, "kfaked-*"))
	for _, path := range found {
		info, err := os.Stat(path)
		if err == nil && path != current && time.Since(info.ModTime()) > 24*time.Hour {
			os.Remove(path)
		}
	}
}

var kfaked struct {
	sync.Mutex // guards path
	path       string
}

// cacheDir makes and returns a folder of Drawbridge's in the user's cache.
func cacheDir(name string) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for built and fetched parts; set XDG_CACHE_HOME: %w", err)
	}
	dir := filepath.Join(base, "drawbridge", name)
	return dir, os.MkdirAll(dir, 0o755)
}
