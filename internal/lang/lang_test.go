package lang_test

import (
	"testing"

	"codeberg.org/minipod/minipod/internal/lang"
)

func TestFind(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want lang.Lang
	}{
		{nil, lang.English},
		{map[string]string{"LANG": "zh_CN.UTF-8"}, lang.Chinese},
		{map[string]string{"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, lang.English},
		{map[string]string{"LANG": "zh-TW", "LC_MESSAGES": ""}, lang.Chinese},
		{map[string]string{"LANG": "en_US.UTF-8", "MINIPOD_LANG": "zh"}, lang.Chinese},
		{map[string]string{"LANG": "zh_CN", "MINIPOD_LANG": "en"}, lang.English},
		{map[string]string{"LANG": "de_DE.UTF-8"}, lang.English},
		{map[string]string{"LANG": "zhuang"}, lang.English},
	} {
		if got := lang.Find(func(name string) string { return test.env[name] }); got != test.want {
			t.Errorf("%v: %s, want %s", test.env, got, test.want)
		}
	}
}

func TestParse(t *testing.T) {
	if _, err := lang.Parse("fr"); err == nil {
		t.Error("there are French texts")
	}
}
