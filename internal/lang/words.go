package lang

import "fmt"

// Say is fmt.Sprintf with the format in that language; the English format is the key. What it can say are the words around what the kernel, docker
// or Kubernetes name: of `doctor`, of the drawings, and of the errors about a command's arguments. What programs read is English.
func (l Lang) Say(format string, v ...any) string {
	if l == Chinese {
		if text := chinese(format); text != "" {
			format = text
		}
	}
	return fmt.Sprintf(format, v...)
}

// Translate is a text without values in that language; ok tells whether it is one of the catalogue's.
func (l Lang) Translate(text string) (translated string, ok bool) {
	if l != Chinese {
		return text, false
	}
	translated = chinese(text)
	return translated, translated != ""
}

// chinese is the catalogue. It is a switch and no map, which would be made before main of every verb.
func chinese(format string) string {
	switch format {
	case "hint: %s":
		return "提示：%s"
	case "run `%s --help`":
		return "运行 `%s --help`"
	case "unknown command: %s %s":
		return "没有这个命令：%s %s"
	case "run `%s --help` to see the verbs there are":
		return "运行 `%s --help` 看看有哪些命令"
	case "run `%s %s`, if you meant that":
		return "你想输入的是 `%s %s` 吗？"
	case "%q requires %s, got %d":
		return "%q 需要%s，得到 %d 个"
	case "%q requires no arguments, got %d":
		return "%q 不接受参数，得到 %d 个"
	case "run needs an image":
		return "run 需要一个镜像"
	case "name one: `minipod run alpine`":
		return "写上一个：`minipod run alpine`"
	case "exec needs a container and a command":
		return "exec 需要一个容器和一条命令"
	case "run `minipod exec --help`":
		return "运行 `minipod exec --help`"
	case "exactly %d %s":
		return "恰好 %d 个%s"
	case "at least %d %s":
		return "至少 %d 个%s"
	case "at most %d %s":
		return "至多 %d 个%s"
	case "between %d and %d %s":
		return "%d 到 %d 个%s"
	case "argument", "arguments": // one, and more of it
		return "参数"

	// the drawings: ns --tree, ps --tree, cgroups
	case "by hand: %s":
		return "亲手看：%s"
	case "   or: ":
		return "   或者："
	case "host":
		return "宿主机"
	case ", ":
		return "、"
	case "host: user namespace %d":
		return "宿主机：用户命名空间 %d"
	case "user namespace %d":
		return "用户命名空间 %d"
	case ", made by uid %d":
		return "，由 uid %d 创建"
	case "user namespace %d, which owns the pods' network":
		return "用户命名空间 %d，Pod 的网络归它所有"
	case "container %s":
		return "容器 %s"
	case "its own: ":
		return "自己的："
	case "shared with host: ":
		return "与宿主机共用："
	case "shared with %s: ":
		return "与 %s 共用："
	case "[in %s] ":
		return "[在 %s] "
	case "PID %-7d here %-5s %s%s":
		return "PID %-7d 里面 %-5s %s%s"
	case "and %d more":
		return "还有 %d 个"
	case "INSIDE":
		return "里面"
	case "STATE":
		return "状态"
	case "ROLE":
		return "角色"
	case "PROCESS":
		return "进程"
	case "user":
		return "用户"
	case "supervisor":
		return "supervisor"
	case "helper":
		return "助手"
	case "sandbox":
		return "1 号进程"
	case "command":
		return "命令"
	case "child":
		return "子进程"
	case "joined":
		return "后来加入"
	case "no limits or usage to show: ":
		return "没有限制和用量可以显示："
	case "%s (outside of this cgroup namespace)":
		return "%s（在本 cgroup 命名空间之外）"
	case "memory %s of %s":
		return "内存 %s，上限 %s"
	case ", swap of %s":
		return "，交换上限 %s"
	case ", OOM kills: %d":
		return "，OOM 杀死 %d 次"
	case "pids %s of %s":
		return "进程 %s 个，上限 %s"
	case "cpu %s":
		return "处理器%s"
	case "of %s":
		return "上限 %s"
	case "of %s (%s µs in each %s µs)":
		return "上限 %s（每 %[3]s µs 里 %[2]s µs）"
	case ", weight %s":
		return "，权重 %s"
	case ", used %s":
		return "，已用 %s"
	case ", throttled %d times for %s":
		return "，被限流 %d 次，共 %s"
	case "the cgroup v2 at %s has no controller for memory, pids or cpu: this machine uses cgroup v1 for them":
		return "%s 的 cgroup v2 没有 memory、pids 或 cpu 控制器：本机用 cgroup v1 管它们"
	case "%s is cgroup v1, and the v2 at %s has no controller for memory, pids or cpu":
		return "%s 是 cgroup v1，%s 的 v2 没有 memory、pids 或 cpu 控制器"
	case "%s is not cgroup v2: it has no cgroup.controllers":
		return "%s 不是 cgroup v2：没有 cgroup.controllers"
	}
	return chineseDoctor(format)
}
