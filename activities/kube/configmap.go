package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Keys of a ConfigMap that are looked at before it is written.
const (
	EpochKey = "DRAWBRIDGE_EPOCH"
	PairKey  = "DRAWBRIDGE_PAIR"
)

// Tell writes where the active site is into the place's ConfigMap, if it has one:
// values by key, the epoch among them. A newer epoch that stands there already is
// not overwritten, and an error of the type *Newer; one of another pair neither, and
// *Missing.
func (n *Namespace) Tell(ctx context.Context, values map[string]string) error {
	name := n.place.ConfigMap
	if name == "" {
		return nil
	}
	for range 5 { // as often as somebody else writes between look and patch
		now, err := n.core.ConfigMaps(n.place.Namespace).Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return n.explain(err, "get", "configmap", name)
		}
		next := maps.Clone(now.Data)
		if next == nil {
			next = map[string]string{}
		}
		maps.Copy(next, values)
		if maps.Equal(next, now.Data) {
			return nil
		}
		if err := n.foreign(name, now.Data, values[PairKey]); err != nil {
			return err
		}
		if newer(now.Data[EpochKey], values[EpochKey]) {
			return &Newer{fmt.Sprintf("ConfigMap %s of %s is at epoch %s, newer than %s of this run: nothing is written; compare it with the record of truth (drctl status)", name, n.place.Where(), now.Data[EpochKey], values[EpochKey])}
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": now.ResourceVersion}, "data": values})
		if err != nil {
			return err
		}
		_, err = n.core.ConfigMaps(n.place.Namespace).Patch(ctx, name, types.MergePatchType, body, meta.PatchOptions{})
		if err != nil && !isConflict(err) {
			return n.explain(err, "patch", "configmap", name)
		}
	}
	return fmt.Errorf("ConfigMap %s of %s is written by somebody else all the time", name, n.place.Where())
}

// foreign refuses a ConfigMap that another pair keeps: its clients would work on this
// pair's clusters.
func (n *Namespace) foreign(name string, data map[string]string, pair string) error {
	if there := data[PairKey]; there != "" && there != pair {
		return &Missing{fmt.Sprintf("ConfigMap %s of %s is of pair %s: give each pair one of its own (groups[].kubernetes[].config_map)", name, n.place.Where(), there)}
	}
	return nil
}

// newer compares epochs; what is no number is none.
func newer(there, ours string) bool {
	a, err := strconv.ParseInt(there, 10, 64)
	b, err2 := strconv.ParseInt(ours, 10, 64)
	return err == nil && err2 == nil && a > b
}
