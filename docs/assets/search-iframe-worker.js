/* The theme's search runs in a worker and shows the sections that have every word of a query. This script adds two things:
   1. Questions. Words without meaning ("my", "the", "when") are left out and endings are cut ("slower" finds "slow").
      The search gets the words that the best section has: rare words count more, words of a title three times.
   2. file://. Browsers start no worker there, so the search runs in a hidden frame with the interface of a worker. */
(() => {
  const EMPTY = new Set(
    ("a about am an and any are as at be been but by can could did do does for from get gets had has have how i if in into is it its " +
      "me mean means more most my need no not of on one or our should so some than that the their them then there these they this those to too use " +
      "using want was we were what when where which while who why will with without would you your").split(" ")
  )
  const plain = text => " " + text.replace(/<[^>]*>/g, " ").toLowerCase().split(/[^\p{L}\p{N}]+/u).join(" ")
  const stem = word => {
    const cut = word.replace(/(?:ing|ed|er|es|ly|s)$/, "")
    return cut.length > 2 && word.length > 4 ? cut : word
  }

  let sections = []

  function read(items) {
    sections = items.map(item => {
      const title = plain([item.title, ...(item.path || [])].join(" "))
      return { title, all: title + plain(item.text || "") }
    })
  }

  /* The words that the search is asked for. */
  function rewrite(input) {
    const said = plain(input).trim().split(" ").filter(Boolean)
    if (said.length < 2) return input
    const full = said.filter(word => !EMPTY.has(word))
    const words = [...new Set((full.length ? full : said).map(stem))].map(word => " " + word)
    const weights = words.map(word => {
      const found = sections.filter(section => section.all.includes(word)).length
      return found ? Math.log(1 + sections.length / found) : 0
    })
    let best = { score: 0, words }
    for (const section of sections) {
      const has = words.filter(word => section.all.includes(word))
      const score = has.reduce((sum, word) => sum + weights[words.indexOf(word)] * (section.title.includes(word) ? 3 : 1), 0)
      if (score > best.score) best = { score, words: has }
    }
    return best.words.join("").trim()
  }

  function prepared(message) {
    const data = message && message.data
    if (data && Array.isArray(data.items)) read(data.items)
    if (data && typeof data.input === "string") return { ...message, data: { ...data, input: rewrite(data.input) } }
    return message
  }

  class Frame extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.ready = new Promise(resolve => this.frame.addEventListener("load", resolve, { once: true }))
      this.frame.srcdoc =
        `<script>self.postMessage = data => parent.dispatchEvent(new MessageEvent("search-answer", { data }))<\/script>` +
        `<script src="${new URL(url, location.href)}"><\/script>`
      window.addEventListener("search-answer", event => {
        const answer = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(answer)
        if (this.onmessage) this.onmessage(answer)
      })
      document.body.appendChild(this.frame)
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {
      this.frame.remove()
    }
  }

  const Base = location.protocol === "file:" ? Frame : window.Worker
  window.Worker = class extends Base {
    postMessage(message, ...rest) {
      super.postMessage(prepared(message), ...rest)
    }
  }
})()
