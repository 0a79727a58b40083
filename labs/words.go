package labs

import (
	"maps"
	"slices"

	"codeberg.org/minipod/minipod/internal/lang"
)

// Translate is what `minipod lab` itself says, in that language: the English format is the key. cli/lab_test.go finds each key in the code, and
// each format of the code here.
func Translate(language lang.Lang, format string) string {
	if language == lang.Chinese {
		if text, ok := chinese[format]; ok {
			return text
		}
	}
	return format
}

var chinese = map[string]string{
	"When you have done that: minipod lab check. In a second terminal minipod lab watch does it for you, all along. Stuck: minipod lab hint": "做完以后：minipod lab check。也可以在第二个终端里开着 minipod lab watch，它会一直替你看着。卡住了：minipod lab hint",
	"%d steps":                        "共 %d 步",
	"%d of %d steps":                  "已完成 %d/%d 步",
	", started":                       "，进行中",
	"not on this machine: %s":         "本机无法进行：缺少 %s",
	"%2d min":                         "%2d 分钟",
	"Start one: minipod lab start %s": "开始一个实验：minipod lab start %s",
	"Not written yet: %s":             "尚未编写：%s",
	", still runs":                    "，还在运行",
	", %d left out":                   "，跳过 %d 步",
	"MINIPOD_ROOT here is still that of lab %s.":                       "这个终端的 MINIPOD_ROOT 还是实验 %s 的。",
	" (the solution was shown)":                                        "（看过答案）",
	" (you answered %s)":                                               "（你的回答：%s）",
	"This machine lacks: %s":                                           "本机缺少：%s",
	"The labs' image is in %s (%s). From now on they need no network.": "实验镜像已存入 %s（%s）。从现在起，所有实验都不再需要网络。",
	"Getting the labs' image, once…":                                   "正在获取实验镜像，只需这一次……",
	"  (about %d minutes)":                                             "（约 %d 分钟）",
	"You have done this lab. To do it again: minipod lab reset %s":     "这个实验你已经做完了。想重做：minipod lab reset %s",
	"In each terminal that you use for this lab, type first (it leads into the lab's world: a store of containers of its own, apart from your others):": "做本实验用到的每个终端里，先输入下面这行（它进入本实验的环境：一套单独的容器存储，和你其他的容器分开）：",
	"Step %d of %d: %s": "第 %d 步（共 %d 步）：%s",
	"This step can't be done here. Read it, and go on: minipod lab skip":                                                         "这一步在本机做不了。读一读内容，然后跳过：minipod lab skip",
	"More help: minipod lab hint":                                                                                                "需要更多提示：minipod lab hint",
	"The process that you named has ended. Start it again, and answer with its new PID.":                                         "你所指的进程已经结束。请重新启动它，再用新的 PID 作答。",
	"Nobody was named yet: `minipod lab answer %s=PID`.":                                                                         "还没有指明是哪个进程：`minipod lab answer %s=PID`。",
	"You have not answered yet. First type the commands of the text, then `minipod lab answer …`.":                               "你还没有作答。先输入正文里的命令，再用 `minipod lab answer …` 作答。",
	"Container `%s` of Pod `%s` does not run. It may take a moment; `minipod get pods` and `minipod describe pod %s` tell more.": "Pod `%[2]s` 的容器 `%[1]s` 没有在运行。可能要等一小会儿；用 `minipod get pods` 和 `minipod describe pod %[3]s` 可以看到更多信息。",
	"There is no Pod `%s` with a container `%s` in this lab's world. Type the commands of the text first; if you did, it may take a moment. Is `MINIPOD_ROOT` exported in the terminal where you typed?":       "本实验的环境里没有带容器 `%[2]s` 的 Pod `%[1]s`。请先输入正文里的命令；如果已经输入，可能要等一小会儿。你敲命令的那个终端里 export 过 `MINIPOD_ROOT` 吗？",
	"The container `%s` is there, and does not run. `minipod logs %s` may tell why. Start it again (`minipod start %s`); if it is not what the text asks for, `minipod rm -f %s` and the command of the text.": "容器 `%s` 存在，但没有在运行。`minipod logs %s` 也许能说明原因。重新启动它：`minipod start %s`；如果它不是正文要求的那个，就先 `minipod rm -f %s`，再用正文里的命令启动。",
	"The container is starting or ending: that takes a moment.": "这个容器正在启动或结束，要等一小会儿。",
	"There is no running container `%s` in this lab's world. Type the commands of the text first. Is `MINIPOD_ROOT` exported in the terminal where you typed?": "本实验的环境里没有正在运行的容器 `%s`。请先输入正文里的命令。你敲命令的那个终端里 export 过 `MINIPOD_ROOT` 吗？",
	"There is no running container `%s` in this lab's world; running here: %s. Type the commands of the text for it first.":                                    "本实验的环境里没有正在运行的容器 `%s`；这里正在运行的有：%s。请先输入正文里和它有关的命令。",
	"hint: %s":                              "提示：%s",
	"there is no lab %q":                    "没有实验 %q",
	"see which there are: minipod lab list": "看看有哪些：minipod lab list",
	"no lab is started":                     "还没有开始任何实验",
	"start one: minipod lab start 01 (minipod lab list shows all)": "先开始一个：minipod lab start 01（minipod lab list 会列出全部）",
	"name the one that you mean: minipod lab reset 01":             "请写明是哪一个：minipod lab reset 01",
	"lab %s is done": "实验 %s 已完成",
	"go on with another (minipod lab list), or do it again: minipod lab reset": "接着做别的（minipod lab list），或者重做：minipod lab reset",
	"lab %s can be read here, not done":                                        "实验 %s 在本机只能读，不能做",
	", done, not reset":                                                        "，已完成，待清理",
	"; ":                                                                       "；",
	", ":                                                                       "、",
	": ":                                                                       "：",
	"step %d not on this machine":                                              "第 %d 步本机无法进行",
	"cgroup v2, delegated to you":                                              "cgroup v2 及其委派",
	"this step asks nothing":                                                   "这一步不需要作答",
	"see what it wants: minipod lab status":                                    "看看它要做什么：minipod lab status",
	"%q is no PID":                                                             "%q 不是进程号",
	"type the number that ps or lsns shows":                                    "请填 ps 或 lsns 显示的数字",
	"there is no process %s":                                                   "没有进程 %s",
	"type the PID that it has on the host":                                     "请填它在宿主机上的 PID",
	"%q is none of the choices":                                                "没有选项 %q",
	"type one of %s":                                                           "请在 %s 中选一个",
	"%q is no number":                                                          "%q 不是数字",
	"type one in digits":                                                       "请填阿拉伯数字",
	"your answer":                                                              "你的回答",
	"Lab %s still runs. To end it: minipod lab reset %s":                                                                "实验 %s 还在运行。要结束它：minipod lab reset %s",
	"In the terminals that you used for it: unset MINIPOD_ROOT":                                                         "并在做实验用过的各终端执行：unset MINIPOD_ROOT",
	"name an archive that docker save, podman save or skopeo made, or the folder of an OCI layout, with its index.json": "请指定 docker save、podman save 或 skopeo 生成的归档，或者含有 index.json 的 OCI 布局目录",
	"did you mean %s?":      "是不是想用 %s？",
	"prepare the image: %s": "准备镜像失败：%s",
	"without a network: minipod lab prepare FILE, with an archive of Alpine or busybox (docker save alpine)": "没有网络时：minipod lab prepare 文件，文件是 Alpine 或 busybox 的归档（docker save alpine）",
	"prepare the image again: minipod lab prepare":                                                           "重新准备镜像：minipod lab prepare",
	"the world of lab %s is not empty: %s":                                                                   "实验 %s 的环境没有清理干净：%s",
	"run it again: minipod lab reset %s":                                                                     "再执行一次：minipod lab reset %s",
	"`%s` runs another command than `%s`, which the commands of this lab look for. Remove it (`minipod rm -f %s`), and start it with the command of the text.": "`%s` 运行的命令不是 `%s`，而本实验后面的命令都按它来找。先 `minipod rm -f %s`，再用正文里的命令启动它。",
	"The rest is judged once you have answered.": "其余各项，作答以后再判定。",
	"it was so before":                           "此前已观察到",
	"; expected: %s":                             "；期望：%s",
	"Step %d is done.":                           "第 %d 步完成。",
	"The lab is done. End what runs in it: minipod lab reset": "实验完成。收尾清理：minipod lab reset",
	"More: minipod lab hint, once more":                       "还不够？再来一次：minipod lab hint",
	"The solution: minipod lab hint, once more":               "想看答案，再来一次：minipod lab hint",
	"Step %d is left out.":                                    "已跳过第 %d 步。",
	"Nothing of lab %s is left: no process, mount, namespace, control group or file. Start it again: minipod lab start %s": "实验 %s 已清理干净：没有残留的进程、挂载、命名空间、控制组或文件。重新开始：minipod lab start %s",
}

// Translated are the sentences that there is a translation of.
func Translated() []string { return slices.Sorted(maps.Keys(chinese)) }
