package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Forms are made of a provider's keys, and what comes back is made into settings by the same keys: what is not a key of
// theirs is not looked at.

// mask is what stands for a secret that is there.
const mask = "<secret>"

// input is a key in a form.
type input struct {
	FormField
	Path    string
	ID      string
	Value   string // of a scalar; lines of a list or table
	Set     bool   // a secret is there
	Options []option
	Inputs  []input   // of a mapping
	Items   [][]input // of a list of mappings: those that there are, and an empty one
	Open    bool      // something is in there
	Fault   string
}

// spareItems is how many empty items a list of mappings offers.
const spareItems = 1

// inputs are the form's inputs for keys below a path. faults are by path.
func inputs(fields []FormField, path string, values map[string]any, faults map[string]string) (list []input) {
	for _, f := range fields {
		at := joined(path, f.Key)
		list = append(list, inputOf(f, at, values[f.Key], faults))
	}
	return list
}

func joined(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func inputOf(f FormField, path string, value any, faults map[string]string) input {
	in := input{FormField: f, Path: path, ID: "f-" + strings.NewReplacer(".", "-", "[", "-", "]", "").Replace(path), Fault: faults[path]}
	if strings.ContainsAny(path, ".[") { // only where what is around it is there; the configuration says so, no browser can
		in.Required = false
	}
	switch {
	case f.Type == "mapping" && f.List:
		items, _ := value.([]any)
		in.Items, in.Open = itemsOf(f, path, items, faults), len(items) > 0
	case f.Type == "mapping":
		inner, _ := value.(map[string]any)
		in.Inputs, in.Open = inputs(f.Fields, path, inner, faults), len(inner) > 0
	case f.Secret:
		in.Set = value != nil
	case f.Table || f.List:
		in.Value = linesOfValue(value)
	case value != nil:
		in.Value = fmt.Sprint(value)
	case f.Type == "bool":
		in.Value = f.Default
	}
	for _, e := range f.Enum {
		in.Options = append(in.Options, option{e, e, e == in.Value})
	}
	in.Open = in.Open || in.Fault != "" || slices.ContainsFunc(in.Inputs, func(i input) bool { return i.Fault != "" || i.Open })
	return in
}

func itemsOf(f FormField, path string, items []any, faults map[string]string) (list [][]input) {
	for i := range len(items) + spareItems {
		var one map[string]any
		if i < len(items) {
			one, _ = items[i].(map[string]any)
		}
		list = append(list, inputs(f.Fields, fmt.Sprintf("%s[%d]", path, i), one, faults))
	}
	return list
}

// linesOfValue is a list, or a table, with a line for each item.
func linesOfValue(value any) (text string) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			text += fmt.Sprintf("%s: %v\n", key, v[key])
		}
	case []any:
		for _, item := range v {
			text += fmt.Sprintln(item)
		}
	}
	return text
}

// Lines tells whether it is a text with a line for each item.
func (i input) Lines() bool { return (i.List || i.Table) && i.Type != "mapping" }

// Checked tells whether a box is ticked.
func (i input) Checked() bool { return i.Value == "true" }

// settings is what a form says of keys below a path; a key of which it says nothing is not there.
func settings(fields []FormField, path string, form url.Values) map[string]any {
	out := map[string]any{}
	for _, f := range fields {
		if value := setting(f, joined(path, f.Key), form); value != nil {
			out[f.Key] = value
		}
	}
	return out
}

func setting(f FormField, path string, form url.Values) any {
	text := form.Get(path)
	switch {
	case f.Type == "mapping" && f.List:
		return settingItems(f, path, form)
	case f.Type == "mapping":
		if inner := settings(f.Fields, path, form); len(inner) > 0 {
			return inner
		}
		return nil
	case f.Secret:
		return secretSetting(path, form)
	case f.Table:
		return tableSetting(text)
	case f.List:
		var list []any
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				list = append(list, scalar(f.Type, line))
			}
		}
		if list == nil {
			return nil
		}
		return list
	case f.Type == "bool":
		if ticked := text == "true"; ticked != (f.Default == "true") {
			return ticked
		}
		return nil
	}
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	return scalar(f.Type, text)
}

// settingItems leaves items out of which the form says nothing. Secrets are found again by an item's place, so behind one
// that was left out they must be given anew.
func settingItems(f FormField, path string, form url.Values) any {
	var list []any
	left := false
	for i := 0; hasBelow(form, fmt.Sprintf("%s[%d].", path, i)); i++ {
		item := settings(f.Fields, fmt.Sprintf("%s[%d]", path, i), form)
		if !saysAnything(item) {
			left = true
			continue
		}
		if left {
			maps.DeleteFunc(item, func(_ string, v any) bool { return v == mask })
		}
		list = append(list, item)
	}
	if list == nil {
		return nil
	}
	return list
}

// saysAnything tells whether an item holds more than boxes that are as they are by themselves, or masked secrets.
func saysAnything(item map[string]any) bool {
	for _, v := range item {
		if v != mask {
			return true
		}
	}
	return false
}

func hasBelow(form url.Values, prefix string) bool {
	for name := range form {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// secretSetting is a new secret, or the mask of the one that stays.
func secretSetting(path string, form url.Values) any {
	switch {
	case form.Get(path) != "":
		return form.Get(path) // as it was typed
	case form.Get(path+"#set") != "" && form.Get(path+"#remove") == "":
		return mask
	}
	return nil
}

func tableSetting(text string) any {
	table := map[string]any{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			table[strings.TrimSpace(key)] = strings.TrimSpace(value)
		} else if line = strings.TrimSpace(line); line != "" {
			table[line] = ""
		}
	}
	if len(table) == 0 {
		return nil
	}
	return table
}

// scalar is a number where the text is one and should be; what is wrong with it is for the configuration to say.
func scalar(kind, text string) any {
	if kind == "integer" || kind == "number" {
		if n := json.Number(text); json.Valid([]byte(text)) {
			return n
		}
	}
	return text
}
