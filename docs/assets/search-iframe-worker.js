/* Browsers start no worker from file://. There the search runs in a hidden frame, with the interface of a worker. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.ready = new Promise(resolve => this.frame.addEventListener("load", resolve, { once: true }))
      this.frame.srcdoc = `<script>
        self.importScripts = url => new Promise((done, failed) => {
          const script = document.createElement("script")
          script.src = url
          script.onload = done
          script.onerror = failed
          document.head.appendChild(script)
        })
        self.postMessage = data => parent.dispatchEvent(new MessageEvent("edgewright-worker", { data }))
      <\/script><script src="${new URL(url, location.href)}"><\/script>`
      window.addEventListener("edgewright-worker", event => {
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
}
